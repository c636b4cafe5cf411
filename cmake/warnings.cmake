# pk_flags carries the dialect and the warnings of CONTRIBUTING; every target of ours links it.
add_library(pk_flags INTERFACE)
target_compile_options(pk_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wformat=2 -Wundef -Wvla -Wcast-qual -Wwrite-strings
    -Wimplicit-fallthrough -Wswitch-enum -Wnull-dereference
    -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=
    -fvisibility=hidden -fno-common -fstack-protector-strong -fstack-clash-protection)
if(PK_WERROR)
    target_compile_options(pk_flags INTERFACE -Werror)
endif()
target_compile_definitions(pk_flags INTERFACE _GNU_SOURCE PK_VERSION="${PROJECT_VERSION}")
if(PK_TEST_KDF)
    target_compile_definitions(pk_flags INTERFACE PK_TEST_KDF=1)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    target_compile_options(pk_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
target_link_options(pk_flags INTERFACE -pie -Wl,-z,relro,-z,now)
