# Foreign packages, each as one interface target. LLVM is found by its version's name: plain
# `llvm-config` may be another one.
find_package(PkgConfig REQUIRED)

function(snl_pkg target module)
  pkg_check_modules(${target}_pkg REQUIRED IMPORTED_TARGET ${module})
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE PkgConfig::${target}_pkg)
endfunction()

snl_pkg(snl_jansson jansson)
snl_pkg(snl_utf8proc libutf8proc)
snl_pkg(snl_pcre2 libpcre2-8)
snl_pkg(snl_ffi libffi)
snl_pkg(snl_xxhash libxxhash)

find_program(LLVM_CONFIG NAMES llvm-config-19 REQUIRED)
execute_process(COMMAND ${LLVM_CONFIG} --includedir OUTPUT_VARIABLE llvm_include
                OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --libdir OUTPUT_VARIABLE llvm_libdir
                OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --bindir OUTPUT_VARIABLE SNL_LLVM_BINDIR
                OUTPUT_STRIP_TRAILING_WHITESPACE)
add_library(snl_llvm INTERFACE)
target_include_directories(snl_llvm SYSTEM INTERFACE ${llvm_include})
target_link_directories(snl_llvm INTERFACE ${llvm_libdir})
target_link_libraries(snl_llvm INTERFACE LLVM-19)
