# The gtest executables, one lit test for each case.
import lit.formats

config.name = "Quanta-Unit"
config.test_format = lit.formats.GoogleTest(".", "unit-tests")
config.suffixes = []
config.test_source_root = config.quanta_unit_dir
config.test_exec_root = config.quanta_unit_dir
