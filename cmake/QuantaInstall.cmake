# What find_package(Quanta) needs beside the tools and libraries, which install themselves (QuantaBuild.cmake).
include(CMakePackageConfigHelpers)
set(QUANTA_CMAKE_DIR lib/cmake/Quanta)

# How Quanta itself is compiled is no business of the projects that use it.
foreach(flags quanta_flags quanta_mlir_flags)
  foreach(property INTERFACE_COMPILE_OPTIONS INTERFACE_LINK_OPTIONS)
    get_target_property(options ${flags} ${property})
    if(options)
      set_property(TARGET ${flags} PROPERTY ${property} "$<BUILD_INTERFACE:${options}>")
    endif()
  endforeach()
endforeach()
target_include_directories(quanta_flags INTERFACE $<INSTALL_INTERFACE:include>)
target_include_directories(QuantaC INTERFACE $<INSTALL_INTERFACE:include>)

get_property(tools GLOBAL PROPERTY QUANTA_TOOLS)
install(TARGETS quanta_flags quanta_mlir_flags EXPORT QuantaTargets COMPONENT compiler)
install(TARGETS ${tools} EXPORT QuantaTargets RUNTIME DESTINATION bin COMPONENT compiler)
install(TARGETS QuantaC EXPORT QuantaTargets LIBRARY DESTINATION lib COMPONENT compiler)
install(EXPORT QuantaTargets NAMESPACE Quanta:: DESTINATION ${QUANTA_CMAKE_DIR} COMPONENT compiler)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/quanta DESTINATION include COMPONENT compiler
  FILES_MATCHING PATTERN "*.h" PATTERN "*.def" PATTERN "*.td")
install(DIRECTORY ${CMAKE_BINARY_DIR}/include/quanta DESTINATION include COMPONENT compiler
  FILES_MATCHING PATTERN "*.inc" PATTERN CMakeFiles EXCLUDE)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/QuantaConfig.cmake.in ${CMAKE_BINARY_DIR}/QuantaConfig.cmake
  INSTALL_DESTINATION ${QUANTA_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/QuantaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/QuantaConfig.cmake ${CMAKE_BINARY_DIR}/QuantaConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/QuantaModel.cmake DESTINATION ${QUANTA_CMAKE_DIR} COMPONENT compiler)
