/* test_crash.c as it is in a release: crash.c is compiled once more without PK_TEST_KDF and takes
 * the place of the library's. */
#include "test_crash.c" /* NOLINT(bugprone-suspicious-include): on purpose, see above */
