# gRPC and Abseil as CMake targets. Ubuntu 22.04's gRPC (1.30) came before its CMake package: there the targets
# are made from pkg-config's word.

find_package(gRPC 1.30 CONFIG QUIET)
if(NOT gRPC_FOUND)
  pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET grpc++>=1.30)
  find_package(absl CONFIG REQUIRED)
  find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
  add_library(gRPC::grpc++ INTERFACE IMPORTED)
  target_link_libraries(gRPC::grpc++ INTERFACE PkgConfig::GRPC protobuf::libprotobuf)
  add_executable(gRPC::grpc_cpp_plugin IMPORTED)
  set_target_properties(gRPC::grpc_cpp_plugin PROPERTIES IMPORTED_LOCATION ${GRPC_CPP_PLUGIN})
endif()
