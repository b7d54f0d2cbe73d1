# SPDX-License-Identifier: Apache-2.0
# weir_companion(PART SOURCES FILE... LINKS TARGET... REQUIRES MODULE...) - a library beside libweir,
# so that nobody links what they do not use: include/weir-PART.h, libweir-PART with the symbols of
# libweir-PART.map, weir-PART.pc, `find_package(weir COMPONENTS PART)`, and the packages
# libweir-PART0 and libweir-PART-dev. It sees of weir what every program sees. LINKS are the targets
# that its header needs, REQUIRES what pkg-config calls them.
function(weir_companion part)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS;REQUIRES")
	set(name weir-${part})
	set(runtime lib${name}0)
	set(development lib${name}-dev)

	add_library(${name} SHARED ${arg_SOURCES})
	set_target_properties(${name} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
		EXPORT_NAME ${part}
		LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/lib${name}.map)
	target_link_libraries(${name} PUBLIC weir ${arg_LINKS} PRIVATE $<BUILD_INTERFACE:weir_flags>)
	target_link_options(${name} PRIVATE -Wl,--no-undefined-version
		-Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/lib${name}.map)

	install(TARGETS ${name} EXPORT ${name}-targets LIBRARY
		DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${runtime}
		NAMELINK_COMPONENT ${development})
	install(FILES ${PROJECT_SOURCE_DIR}/include/${name}.h
		DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ${development})
	install(EXPORT ${name}-targets NAMESPACE weir::
		DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir COMPONENT ${development})
	list(JOIN arg_REQUIRES " " WEIR_REQUIRES)
	string(REGEX REPLACE "([<>=]+)" " \\1 " WEIR_PC_REQUIRES "${WEIR_REQUIRES}")
	foreach(file ${name}-dependencies.cmake ${name}.pc)
		set(WEIR_PART ${part})
		string(REPLACE ${name} companion template ${file})
		configure_file(${PROJECT_SOURCE_DIR}/client/${template}.in ${file} @ONLY)
	endforeach()
	install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}-dependencies.cmake
		DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir COMPONENT ${development})
	install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc
		DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT ${development})
endfunction()
