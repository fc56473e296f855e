# quanta_add_model(NAME MODEL file.onnx [RECIPE text] [OPTIONS option...])
#
# Compiles a model when the project is built and makes a library target NAME of it, to be linked by C and C++ programs. Its
# header is NAME.h and its functions begin with NAME_. OPTIONS are quantc's: --keep, --dim, --mcpu ...
function(quanta_add_model name)
  cmake_parse_arguments(ARG "" "MODEL;RECIPE" "OPTIONS" ${ARGN})
  if(NOT ARG_MODEL OR ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "quanta_add_model(NAME MODEL file.onnx [RECIPE text] [OPTIONS option...])")
  endif()
  get_filename_component(model ${ARG_MODEL} ABSOLUTE)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${name}.model)
  set(options --name=${name} ${ARG_OPTIONS})
  if(ARG_RECIPE)
    list(APPEND options "--recipe=${ARG_RECIPE}")
  endif()
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${folder}/${name}.o ${folder}/${name}.h
    COMMAND Quanta::quantc ${model} -o ${folder}/${name}.o ${options}
    COMMAND Quanta::quantc ${model} -o ${folder}/${name}.h ${options}
    DEPENDS ${model} Quanta::quantc VERBATIM
    COMMENT "Compiling ${ARG_MODEL}")
  add_library(${name} STATIC ${folder}/${name}.o ${folder}/${name}.h)
  set_source_files_properties(${folder}/${name}.o PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
  target_include_directories(${name} INTERFACE ${folder})
  target_link_libraries(${name} INTERFACE m Threads::Threads)
endfunction()
