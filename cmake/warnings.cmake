# Flags that every target of ours shares.
add_library(snl_flags INTERFACE)
target_compile_options(snl_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wstrict-prototypes -Wmissing-prototypes -Wvla
  # gcc cannot see that snl_error never returns SNL_OK, so outputs look unset after SNL_TRY.
  $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
  $<$<BOOL:${SNL_WERROR}>:-Werror>)
target_compile_definitions(snl_flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
if(SNL_SANITIZE)
  target_compile_options(snl_flags INTERFACE -fsanitize=${SNL_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(snl_flags INTERFACE -fsanitize=${SNL_SANITIZE})
endif()
if(SNL_FUZZ)
  target_compile_options(snl_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
