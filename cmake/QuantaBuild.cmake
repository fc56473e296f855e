# One helper for each kind of target, so that a directory's CMakeLists.txt only lists its sources.

add_library(quanta_flags INTERFACE)
target_include_directories(quanta_flags INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/include>)
target_compile_options(quanta_flags INTERFACE -Wall -Wextra -Wno-unused-parameter
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions>)
if(QUANTA_ENABLE_ASSERTIONS)
  target_compile_options(quanta_flags INTERFACE -UNDEBUG)
endif()
if(QUANTA_SANITIZE)
  target_compile_options(quanta_flags INTERFACE -fsanitize=${QUANTA_SANITIZE} -fno-sanitize=vptr -fno-omit-frame-pointer)
  target_link_options(quanta_flags INTERFACE -fsanitize=${QUANTA_SANITIZE})
endif()

add_library(quanta_mlir_flags INTERFACE)
target_link_libraries(quanta_mlir_flags INTERFACE quanta_flags)
target_include_directories(quanta_mlir_flags SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
# A system header that was reinstalled unchanged does not make the precompiled header stale.
target_compile_options(quanta_mlir_flags INTERFACE ${QUANTA_LLVM_DEFINITIONS} -fpch-validate-input-files-content)

# Every library that uses MLIR shares one precompiled header: 2 s a file instead of 10 s (see docs/Rationale.md).
file(WRITE ${CMAKE_BINARY_DIR}/QuantaPCH.cpp "")
add_library(QuantaPCH OBJECT ${CMAKE_BINARY_DIR}/QuantaPCH.cpp)
target_link_libraries(QuantaPCH PUBLIC quanta_mlir_flags)
target_precompile_headers(QuantaPCH PRIVATE ${CMAKE_SOURCE_DIR}/cmake/QuantaPCH.h)

# add_quanta_library(NAME [PLAIN] SRCS file... [DEPS target...] [LIBS library...])
#   PLAIN: no MLIR (Support, Format, Solver). DEPS: generated headers it needs.
function(add_quanta_library name)
  cmake_parse_arguments(ARG "PLAIN" "" "SRCS;DEPS;LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_link_libraries(${name} PUBLIC ${ARG_LIBS})
  if(ARG_PLAIN)
    target_link_libraries(${name} PUBLIC quanta_flags)
  else()
    target_link_libraries(${name} PUBLIC quanta_mlir_flags MLIR LLVM)
    target_precompile_headers(${name} REUSE_FROM QuantaPCH)
  endif()
  if(ARG_DEPS)
    add_dependencies(${name} ${ARG_DEPS})
  endif()
  install(TARGETS ${name} EXPORT QuantaTargets ARCHIVE DESTINATION lib COMPONENT compiler)
endfunction()

# add_quanta_tool(NAME SRCS file... LIBS library...)
function(add_quanta_tool name)
  cmake_parse_arguments(ARG "PLAIN" "" "SRCS;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  if(NOT ARG_PLAIN)
    target_link_libraries(${name} PRIVATE quanta_mlir_flags MLIR LLVM)
    # The precompiled header is built with -fPIC; CMake would give executables -fPIE.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIC)
    target_precompile_headers(${name} REUSE_FROM QuantaPCH)
  endif()
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "${LLVM_LIBRARY_DIR};$ORIGIN/../lib")
  install(TARGETS ${name} RUNTIME DESTINATION bin COMPONENT compiler)
  set_property(GLOBAL APPEND PROPERTY QUANTA_TOOLS ${name})
endfunction()
