//===- NpyTest.cpp - Files of NumPy, good and bad -------------------------------------------------------------------------===//
#include "quanta/Support/Npy.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <random>
#include <zlib.h>

using namespace llvm;
using namespace quanta;

namespace {
const DType kAllTypes[] = {DType::F32, DType::F16, DType::F64, DType::I8,  DType::U8,  DType::I16,
                           DType::U16, DType::I32, DType::U32, DType::I64, DType::U64, DType::Bool};

std::string temporary(const char *suffix) { return testing::TempDir() + "quanta-npy-test" + suffix; }

std::string contents(StringRef path) { return (*MemoryBuffer::getFile(path))->getBuffer().str(); }

// The message of a failure; empty for success.
template <typename T> std::string messageOf(Expected<T> result) {
  return result ? "" : toString(result.takeError());
}

std::string npy(const std::string &dict, const std::string &data, char version = 1) {
  std::string result = std::string("\x93NUMPY") + version + '\0';
  for (size_t i = 0, size = dict.size(); i < (version == 1 ? 2u : 4u); ++i, size >>= 8)
    result += static_cast<char>(size);
  return result + dict + data;
}

Expected<Array> parse(const std::string &bytes) { return parseNpy(bytes, "x.npy", nullptr); }

Array counting(DType type, std::vector<int64_t> shape) {
  Array array = Array::zeros(type, std::move(shape));
  for (size_t i = 0; i < array.getByteSize(); ++i)
    array.mutableData()[i] = static_cast<char>(type == DType::Bool ? i & 1 : i * 7);
  return array;
}

void expectSame(const Array &a, const Array &b) {
  EXPECT_EQ(a.getType(), b.getType());
  EXPECT_EQ(a.getShape(), b.getShape());
  EXPECT_TRUE(StringRef(a.data(), a.getByteSize()) == StringRef(b.data(), b.getByteSize()));
}

TEST(Npy, RoundTrips) {
  std::string path = temporary(".npy"), archive = temporary(".npz");
  NpzEntries entries;
  for (DType type : kAllTypes)
    for (std::vector<int64_t> shape : {std::vector<int64_t>{}, {0}, {5}, {3, 0, 2}, {2, 3, 4}, {1, 1, 1, 1, 1, 1, 1, 1}}) {
      Array array = counting(type, shape);
      ASSERT_EQ(toString(writeNpy(path, array)), "");
      EXPECT_EQ((contents(path).size() - array.getByteSize()) % 64, 0u);
      Expected<Array> read = readNpy(path);
      ASSERT_TRUE(static_cast<bool>(read)) << toString(read.takeError());
      expectSame(*read, array);
      entries.emplace_back("a.b/c:" + std::to_string(entries.size()), array);
    }
  ASSERT_EQ(toString(writeNpz(archive, entries)), "");
  Expected<NpzEntries> read = readNpz(archive);
  ASSERT_TRUE(static_cast<bool>(read)) << toString(read.takeError());
  ASSERT_EQ(read->size(), entries.size());
  for (auto [a, b] : zip_equal(*read, entries)) {
    EXPECT_EQ(a.first, b.first);
    expectSame(a.second, b.second);
  }
  ASSERT_EQ(toString(writeNpz(archive, {})), "");
  EXPECT_EQ(messageOf(readNpz(archive)), "");
  EXPECT_NE(toString(writeNpy("/nonexistent/x.npy", Array::zeros(DType::F32, {1}))), "");
}

TEST(Npy, HeadersOfAllVersions) {
  std::string dict = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n", data("\1\0\2\1", 4);
  for (char version : {1, 2, 3}) {
    Expected<Array> array = parse(npy(dict, data, version));
    ASSERT_TRUE(static_cast<bool>(array)) << toString(array.takeError());
    EXPECT_EQ(array->describe(), "2xi16");
    EXPECT_EQ(array->getInt(1), 258);
  }
  for (const char *shape : {"()", "( )", "(1)", "(1L,)", "(1 , 1 )"})
    EXPECT_EQ(messageOf(parse(npy(std::string("{\"shape\":") + shape + ",'descr':'=i2','fortran_order':True}", data))), "");
}

TEST(Npy, FortranOrderIsConverted) {
  std::string data;
  for (char i = 0; i < 24; ++i)
    data += i;
  Expected<Array> array = parse(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4)}", data));
  ASSERT_TRUE(static_cast<bool>(array));
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 3; ++j)
      for (int64_t k = 0; k < 4; ++k)
        EXPECT_EQ(array->getInt((i * 3 + j) * 4 + k), i + 2 * j + 6 * k);
}

TEST(Npy, BadFilesAreRefused) {
  auto expectError = [](const std::string &bytes, StringRef message) {
    std::string got = messageOf(parse(bytes));
    EXPECT_TRUE(StringRef(got).contains(message)) << got;
  };
  auto dict = [](const char *descr, const char *shape) {
    return std::string("{'descr': ") + descr + ", 'fortran_order': False, 'shape': " + shape + "}";
  };
  expectError("", "not an .npy file");
  expectError("\x93NUMPY", "not an .npy file");
  expectError(npy(dict("'<f4'", "(1,)"), "1234", 4), "version 4");
  expectError(npy(dict("'<f4'", "(2,)"), "1234"), "2xf32 needs 8 bytes, but 4 are there");
  expectError(npy(dict("'>f4'", "(1,)"), "1234"), "not little endian");
  expectError(npy(dict("'<c8'", "(1,)"), "12345678"), "element type is not supported");
  expectError(npy(dict("[('a', '<f4')]", "(1,)"), "1234"), "records");
  expectError(npy(dict("'<f4'", "(-1,)"), "1234"), "bad shape");
  expectError(npy(dict("'<f4'", "(1 1)"), "1234"), "bad shape");
  expectError(npy(dict("'<f4'", "(1"), "1234"), "bad shape");
  expectError(npy(dict("'<f4'", "(99999999999999999999,)"), ""), "bad shape");
  expectError(npy(dict("'<f4'", "(4611686018427387904, 4)"), ""), "too large");
  expectError(npy(dict("'<f4'", "(0, 4611686018427387904, 4)"), ""), "too large");
  expectError(npy(dict("'|b1'", "(1,)"), "\2"), "neither 0 nor 1");
  expectError(npy("{'descr': '<f4'}", ""), "lacks a key");
  expectError(npy("{'descr': '<f4', 'descr': '<f4'}", ""), "unexpected key");
  expectError(npy("{'x': 1}", ""), "unexpected key");
  expectError(npy("", ""), "not a dictionary");
  expectError(npy("{'descr", ""), "not a dictionary");
  EXPECT_NE(messageOf(readNpy("/nonexistent.npy")), "");
  EXPECT_NE(messageOf(readNpy("/dev/zero")), "");
  EXPECT_NE(messageOf(readNpz("/tmp")), "");
}

// Whatever bytes change, reading ends with an array or an error.
TEST(Npy, DamagedArchives) {
  std::string path = temporary("-damaged.npz");
  ASSERT_EQ(toString(writeNpz(path, {{"a", counting(DType::F32, {3, 5})}, {"b", counting(DType::I64, {2})}})), "");
  std::string good = contents(path);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(messageOf(parseNpz(good.substr(0, size), "x", nullptr)), "");
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (unsigned n = 1 + random() % 4; n > 0; --n)
      bad[random() % bad.size()] = static_cast<char>(random() % 3 ? random() : random() % 2 ? 0xff : 0);
    consumeError(parseNpz(bad, "x", nullptr).takeError());
  }
}

TEST(Npy, DeflatedArchives) {
  std::string payload = npy("{'descr': '<i4', 'fortran_order': False, 'shape': (5000,)}", std::string(20000, 'a'));
  std::string packed(compressBound(payload.size()), 0);
  z_stream stream = {};
  ASSERT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef *>(payload.data());
  stream.avail_in = static_cast<uInt>(payload.size());
  stream.next_out = reinterpret_cast<Bytef *>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  uint32_t crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<Bytef *>(payload.data()), static_cast<uInt>(payload.size())));

  auto archive = [&](uint64_t unpackedSize) {
    auto put = [](std::string &to, uint64_t value, int bytes) {
      for (; bytes > 0; --bytes, value >>= 8)
        to += static_cast<char>(value);
    };
    std::string common, file, end;
    put(common, 20, 2), put(common, 0, 2), put(common, 8, 2), put(common, 0, 4), put(common, crc, 4);
    put(common, packed.size(), 4), put(common, unpackedSize, 4), put(common, 5, 2), put(common, 0, 2);
    file = "PK\3\4" + common + "x.npy" + packed;
    std::string directory = std::string("PK\1\2\24\0", 6) + common;
    put(directory, 0, 10), put(directory, 0, 4);
    directory += "x.npy";
    end = std::string("PK\5\6\0\0\0\0\1\0\1\0", 12);
    put(end, directory.size(), 4), put(end, file.size(), 4), put(end, 0, 2);
    return file + directory + end;
  };
  Expected<NpzEntries> read = parseNpz(archive(payload.size()), "x.npz", nullptr);
  ASSERT_TRUE(static_cast<bool>(read)) << toString(read.takeError());
  EXPECT_EQ((*read)[0].first, "x");
  EXPECT_EQ((*read)[0].second.getInt(4999), 0x61616161);
  EXPECT_NE(messageOf(parseNpz(archive(payload.size() - 1), "x.npz", nullptr)), "");
  EXPECT_NE(messageOf(parseNpz(archive(payload.size() + 1), "x.npz", nullptr)), "");
  std::string bomb = messageOf(parseNpz(archive(0xfffffff0), "x.npz", nullptr));
  EXPECT_TRUE(StringRef(bomb).contains("can expand to")) << bomb;
}

TEST(Array, Converts) {
  Array ids = Array::copyOf<uint16_t>(DType::U16, {3}, {1, 2, 65535});
  Expected<Array> wide = ids.convertTo(DType::I64);
  ASSERT_TRUE(static_cast<bool>(wide));
  EXPECT_EQ(wide->getInt(2), 65535);
  EXPECT_NE(messageOf(ids.convertTo(DType::I16)), "");
  EXPECT_NE(messageOf(ids.convertTo(DType::F32)), "");
  EXPECT_NE(messageOf(ids.convertTo(DType::Bool)), "");
  Array negative = Array::copyOf<int64_t>(DType::I64, {1}, {-1});
  EXPECT_EQ((*negative.convertTo(DType::I8)).getInt(0), -1);
  EXPECT_NE(messageOf(negative.convertTo(DType::U64)), "");
  Array large = Array::copyOf<uint64_t>(DType::U64, {1}, {uint64_t(1) << 63});
  EXPECT_NE(messageOf(large.convertTo(DType::I64)), "");
  Array real = Array::copyOf<float>(DType::F32, {2}, {0.5f, -3});
  for (DType type : {DType::F16, DType::F64, DType::F32})
    EXPECT_EQ((*(*real.convertTo(type)).convertTo(DType::F32)).as<float>()[1], -3);
  Array matrix = counting(DType::I32, {4, 2});
  EXPECT_EQ(matrix.slice(1, 3).getInt(3), matrix.getInt(5));
  EXPECT_EQ(matrix.reshaped({8}).getInt(7), matrix.getInt(7));
  EXPECT_EQ(matrix.describe(), "4x2xi32");
}

TEST(Cases, AreGrouped) {
  auto group = [](std::vector<std::string> keys, std::vector<std::string> names) {
    NpzEntries entries;
    for (const std::string &key : keys)
      entries.emplace_back(key, Array::zeros(DType::F32, {1}));
    auto cases = groupCases(entries, names, "x.npz");
    std::string text;
    if (!cases)
      return toString(cases.takeError());
    for (const NamedCase &one : *cases) {
      text += one.name + "{";
      for (const auto &array : one.arrays)
        text += array.first + ";";
      text += "}";
    }
    return text;
  };
  EXPECT_EQ(group({"x", "y"}, {"x", "y"}), "{x;y;}");
  EXPECT_EQ(group({"x"}, {"x", "y"}), "{x;}");
  EXPECT_EQ(group({"b.x", "a.x", "b.y"}, {"x", "y"}), "b{x;y;}a{x;}");
  EXPECT_EQ(group({"a.s/0.tmp_1"}, {"s/0.tmp_1"}), "a{s/0.tmp_1;}");
  EXPECT_EQ(group({"s/0.tmp_1"}, {"s/0.tmp_1", "tmp_1"}), "{s/0.tmp_1;}");
  EXPECT_EQ(group({"a.c.x"}, {"x", "c.x"}), "a{c.x;}");
  EXPECT_EQ(group({"a.b.x", "c.x"}, {"x"}), "a.b{x;}c{x;}");
  EXPECT_NE(group({"a.z"}, {"x"}).find("'a.z'"), std::string::npos);
  EXPECT_NE(group({".x"}, {"x"}).find("'.x'"), std::string::npos);
  EXPECT_NE(group({}, {"x"}).find("no arrays"), std::string::npos);
}
} // namespace
