# What `snlpc compile` needs on the machine it runs on: linker, start files and static libraries of
# libc, found once through the C compiler. codegen/link.c gets them as SNL_LINK_* definitions.
find_program(SNL_LLD NAMES ld.lld-19 REQUIRED)
find_program(SNL_CLANG NAMES clang-19)

function(snl_compiler_file out name)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=${name}
                  OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT IS_ABSOLUTE "${path}")
    message(FATAL_ERROR "${CMAKE_C_COMPILER} does not know where ${name} is: install libc6-dev")
  endif()
  get_filename_component(path "${path}" REALPATH)
  set(${out} "${path}" PARENT_SCOPE)
endfunction()

add_library(snl_link_paths INTERFACE)
target_compile_definitions(snl_link_paths INTERFACE SNL_LINK_LLD="${SNL_LLD}")
# Sanitizer runtimes: LLVM's own when its compiler is there, since the generated code is LLVM's.
if(NOT SNL_CLANG)
  set(SNL_CLANG ${CMAKE_C_COMPILER})
endif()
target_compile_definitions(snl_link_paths INTERFACE SNL_LINK_CC="${SNL_CLANG}")
foreach(pair CRT1=crt1.o CRTI=crti.o CRTN=crtn.o CRTBEGIN=crtbeginT.o CRTEND=crtend.o LIBC=libc.a
             LIBM=libm.a LIBPTHREAD=libpthread.a LIBPCRE2=libpcre2-8.a LIBGCC=libgcc.a
             LIBGCC_EH=libgcc_eh.a)
  string(REPLACE "=" ";" pair ${pair})
  list(GET pair 0 key)
  list(GET pair 1 file)
  snl_compiler_file(path ${file})
  target_compile_definitions(snl_link_paths INTERFACE SNL_LINK_${key}="${path}")
endforeach()
