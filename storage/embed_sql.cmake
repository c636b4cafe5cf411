# catalog_schema.sql as C: one array of bytes per step, split at the lines `-- step <n>`.
# Run with -DIN=<sql> -DOUT=<c>.
cmake_minimum_required(VERSION 3.25)
file(READ "${IN}" text)
set(arrays "")
set(names "")
set(step 0)
while(TRUE)
    math(EXPR next "${step} + 1")
    set(mark "\n-- step ${next}\n")
    string(FIND "${text}" "${mark}" at)
    if(at EQUAL -1)
        break()
    endif()
    string(LENGTH "${mark}" mark_length)
    math(EXPR at "${at} + ${mark_length}")
    string(SUBSTRING "${text}" ${at} -1 text)
    math(EXPR after "${next} + 1")
    string(FIND "${text}" "\n-- step ${after}\n" end)
    string(SUBSTRING "${text}" 0 ${end} body)
    string(HEX "${body}" hex)
    string(REGEX REPLACE "(..)" "0x\\1, " bytes "${hex}")
    string(APPEND arrays "static const char step_${next}[] = {${bytes}0};\n")
    string(APPEND names "step_${next}, ")
    set(step ${next})
endwhile()
if(step EQUAL 0)
    message(FATAL_ERROR "${IN} has no step")
endif()
file(WRITE "${OUT}" "/* Made from catalog_schema.sql by embed_sql.cmake. */
#include \"storage/catalog_driver.h\"

${arrays}
const char *const pk_catalog_schema_steps[] = {${names}};
const int pk_catalog_schema_version = ${step};
")
