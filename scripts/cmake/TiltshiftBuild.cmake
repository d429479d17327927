# What every folder shares: packages, warnings, sanitizers, and the ways to add a target.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Protobuf REQUIRED)
include(TiltshiftGrpc)
find_package(prometheus-cpp CONFIG)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark CONFIG REQUIRED)
# Debian's oneDNN was built with OpenCL too, so its CMake package asks for OpenCL's headers, which nothing
# here needs: find the library itself.
find_path(DNNL_INCLUDE dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
find_library(CSV_LIBRARY csv REQUIRED)  # brings no file of its own for CMake or pkg-config
add_library(tiltshift_dnnl INTERFACE)
target_include_directories(tiltshift_dnnl INTERFACE ${DNNL_INCLUDE})
target_link_libraries(tiltshift_dnnl INTERFACE ${DNNL_LIBRARY})
# From 7.88 on libcurl signs requests as S3 wants them; with an earlier one there is no S3.
find_package(CURL 7.75 REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(VIPS REQUIRED IMPORTED_TARGET vips)
find_package(ZLIB REQUIRED)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc)

pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

option(TILTSHIFT_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
set(TILTSHIFT_CUDA "emulated" CACHE STRING "The card's kernels: ON (nvcc), emulated (g++, everywhere) or OFF")
set_property(CACHE TILTSHIFT_CUDA PROPERTY STRINGS ON emulated OFF)
set(TILTSHIFT_CUDA_ARCHITECTURES "80;90;120" CACHE STRING "With TILTSHIFT_CUDA=ON: the cards to compile for")
set(TILTSHIFT_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them: address,undefined or thread")

# nvcc has options of its own.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-unused-parameter;-Wno-missing-field-initializers;-Wno-restrict>")
if(TILTSHIFT_SANITIZE)
  add_compile_options(-fsanitize=${TILTSHIFT_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TILTSHIFT_SANITIZE})
endif()

# For programs whose messages are made on one thread and freed on another, which glibc's malloc pays
# for with a fifth of their time. Sanitizers bring their own.
add_library(tiltshift_malloc INTERFACE)
if(NOT TILTSHIFT_SANITIZE)
  target_link_libraries(tiltshift_malloc INTERFACE -Wl,--no-as-needed PkgConfig::JEMALLOC -Wl,--as-needed)
endif()

# The rooms too, or the fuzzer would steer by the target's own few branches.
if(TILTSHIFT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# tiltshift_room(NAME SOURCES ... LINK ...): the one library of a folder, called tiltshift_NAME.
# Includes are written from the repository's root: #include "base/status.h".
function(tiltshift_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(tiltshift_${name} STATIC ${ARG_SOURCES})
  target_include_directories(tiltshift_${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_link_libraries(tiltshift_${name} PUBLIC ${ARG_LINK})
endfunction()

# Passive: OpenMP's spinning barriers take a hundred times as long when something else runs on the cores.
# And a cache and a certificate of their own: tests leave nothing with the user.
set(TILTSHIFT_TEST_ENVIRONMENT "OMP_WAIT_POLICY=passive;XDG_CACHE_HOME=${CMAKE_BINARY_DIR}/cache;XDG_STATE_HOME=${CMAKE_BINARY_DIR}/state")

# What computes little, a test's own code or a command line's, is optimised less: it is compiled in two thirds of the
# time.
set(TILTSHIFT_QUICK_OPTIONS $<$<CONFIG:Release>:-O1>)

# tiltshift_test(NAME SOURCES ... LINK ... [LABELS ...] [TIMEOUT s] [WAITS]): a GoogleTest binary, one ctest
# entry. A test computes on every core at times, so `ctest -j` starts two at once; one that WAITS, mostly for the
# processes it started, leaves room for others.
cmake_host_system_information(RESULT TILTSHIFT_CORES QUERY NUMBER_OF_LOGICAL_CORES)
math(EXPR TILTSHIFT_TEST_CORES "(${TILTSHIFT_CORES} + 1) / 2")
function(tiltshift_test name)
  cmake_parse_arguments(ARG "WAITS" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE TILTSHIFT_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             TILTSHIFT_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_compile_options(${name} PRIVATE ${TILTSHIFT_QUICK_OPTIONS})
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set(processors ${TILTSHIFT_TEST_CORES})
  if(ARG_WAITS)
    set(processors 1)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
                       PROCESSORS ${processors} ENVIRONMENT "${TILTSHIFT_TEST_ENVIRONMENT}")
endfunction()

# tiltshift_protos(VARIABLE a.proto ...): generates messages and services of this folder's protos below
# the build folder, in a folder of the same name; VARIABLE lists what was generated.
function(tiltshift_protos variable)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  set(generated)
  foreach(proto ${ARGN})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(out ${CMAKE_BINARY_DIR}/${folder}/${stem})
    add_custom_command(
      OUTPUT ${out}.pb.cc ${out}.pb.h ${out}.grpc.pb.cc ${out}.grpc.pb.h
      COMMAND protobuf::protoc -I ${CMAKE_SOURCE_DIR} --cpp_out=${CMAKE_BINARY_DIR}
              --grpc_out=${CMAKE_BINARY_DIR}
              --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>
              ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${proto}
      VERBATIM)
    list(APPEND generated ${out}.pb.cc ${out}.pb.h ${out}.grpc.pb.cc ${out}.grpc.pb.h)
  endforeach()
  set(${variable} ${generated} PARENT_SCOPE)
endfunction()

# tiltshift_program(NAME SOURCES ... LINK ...): an executable, put in build/PRESET/bin.
function(tiltshift_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  set_source_files_properties(main.cc PROPERTIES COMPILE_OPTIONS "${TILTSHIFT_QUICK_OPTIONS}")
endfunction()

# tiltshift_fuzzer(NAME SOURCES ... LINK ... CORPUS dir): one LLVMFuzzerTestOneInput source builds two
# ways: with TILTSHIFT_FUZZ as a libFuzzer program; always as a ctest that replays the kept corpus.
function(tiltshift_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;LINK" ${ARGN})
  if(TILTSHIFT_FUZZ)
    add_executable(${name} ${ARG_SOURCES})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name} PRIVATE ${ARG_LINK})
  endif()
  if(NOT TARGET tiltshift_fuzz_replay)
    add_library(tiltshift_fuzz_replay OBJECT ${CMAKE_SOURCE_DIR}/tests/fuzz_replay_main.cc)
  endif()
  add_executable(${name}_replay ${ARG_SOURCES} $<TARGET_OBJECTS:tiltshift_fuzz_replay>)
  target_link_libraries(${name}_replay PRIVATE ${ARG_LINK})
  target_compile_options(${name}_replay PRIVATE ${TILTSHIFT_QUICK_OPTIONS})
  add_test(NAME ${name}_replay COMMAND ${name}_replay ${ARG_CORPUS})
endfunction()
