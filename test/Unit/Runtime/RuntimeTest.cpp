//===- RuntimeTest.cpp - Instances, allocation, pools and errors of compiled models ---------------------------------------===//
#include "TestModel.h"
#include "quanta/Runtime/Embedded.h"
#include "gtest/gtest.h"
#include <atomic>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {
// An instance with inputs of its own.
class Instance {
public:
  explicit Instance(quanta_options options, const quanta_rt_desc &desc = test_model_desc) {
    status = quanta_rt_create(&desc, &options, &rt);
  }
  explicit Instance(int threads = 1) : Instance(quanta_options{threads, 0, nullptr, nullptr}) {}
  ~Instance() { quanta_rt_destroy(rt); }

  void resize(int64_t batch) {
    a.resize(static_cast<size_t>(batch * 3));
    b.resize(static_cast<size_t>(batch * 3));
    std::iota(a.begin(), a.end(), 1.0f);
    std::iota(b.begin(), b.end(), -100.0f);
    in[0] = {a.data(), QUANTA_F32, 2, {batch, 3}, batch * 12};
    in[1] = {b.data(), QUANTA_F32, 2, {batch, 3}, batch * 12};
  }
  int run() { return quanta_rt_run(rt, in, out); }
  std::string error() const { return quanta_rt_last_error(rt); }
  bool isRight() const {
    const float *y = static_cast<const float *>(out[0].data);
    for (size_t i = 0; i < a.size(); ++i)
      if (y[i] != 2 * a[i] + b[i])
        return false;
    return true;
  }

  quanta_rt *rt = nullptr;
  int status;
  std::vector<float> a, b;
  quanta_tensor in[2] = {}, out[2] = {};
};

TEST(Runtime, ComputesWithAnyNumberOfThreads) {
  for (int threads : {0, 1, 2, 3, 7})
    for (int64_t batch : {0, 1, 2, 5, 33, 1001}) {
      Instance model(threads);
      ASSERT_EQ(model.status, QUANTA_OK);
      model.resize(batch);
      for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(model.run(), QUANTA_OK) << model.error();
        EXPECT_EQ(model.out[0].bytes, batch * 12);
        EXPECT_EQ(model.out[0].shape[0], batch);
        EXPECT_EQ(model.out[0].shape[1], 3);
        EXPECT_TRUE(model.isRight());
      }
    }
}

TEST(Runtime, NestedRegionsRunSerially) {
  Instance model(2);
  model.resize(100);
  model.a[0] = TEST_NESTED;
  ASSERT_EQ(model.run(), QUANTA_OK) << model.error();
  EXPECT_TRUE(model.isRight());
}

TEST(Runtime, SleepingThreadsWakeUp) {
  Instance model(3);
  model.resize(50);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(20 * i));
    ASSERT_EQ(model.run(), QUANTA_OK);
    EXPECT_TRUE(model.isRight());
  }
}

TEST(Runtime, PoolIsShared) {
  quanta_pool *pool = quanta_pool_create(2, 0);
  ASSERT_NE(pool, nullptr);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      Instance model(quanta_options{0, 0, nullptr, pool});
      for (int i = 0; i < 500; ++i) {
        model.resize(10 + (i * 7 + t) % 50);
        if (model.run() != QUANTA_OK || !model.isRight())
          ++wrong;
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  quanta_pool_destroy(pool);
  quanta_pool_destroy(nullptr);
  quanta_pool_destroy(quanta_pool_create(3, /*pin=*/1));
}

TEST(Runtime, PoolOfAnotherVersionIsRefused) {
  std::vector<uint64_t> notAPool(1000, 0);
  Instance model(quanta_options{0, 0, nullptr, reinterpret_cast<quanta_pool *>(notAPool.data())});
  EXPECT_EQ(model.status, QUANTA_INVALID);
}

TEST(Runtime, BlocksAreReused) {
  Instance model;
  model.resize(10);
  std::vector<int64_t> temporaries;
  std::vector<void *> outputs;
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(model.run(), QUANTA_OK);
    temporaries.push_back(*static_cast<int64_t *>(model.out[1].data));
    outputs.push_back(model.out[0].data);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(model.out[0].data) % 64, 0u);
  }
  for (size_t i = 2; i < outputs.size(); ++i) {
    EXPECT_EQ(temporaries[i], temporaries[1]);
    EXPECT_EQ(outputs[i], outputs[1]);
  }
}

TEST(Runtime, CallersBuffer) {
  Instance model;
  model.resize(4);
  std::vector<float> buffer(20, -7);
  model.out[0].data = buffer.data();
  model.out[0].bytes = 80;
  ASSERT_EQ(model.run(), QUANTA_OK);
  EXPECT_EQ(model.out[0].data, buffer.data());
  EXPECT_EQ(model.out[0].bytes, 48);
  EXPECT_TRUE(model.isRight());
  EXPECT_EQ(buffer[12], -7);

  model.resize(5);
  EXPECT_EQ(model.run(), QUANTA_INVALID);
  EXPECT_EQ(model.error(), "model 'hand': output 'y' needs a buffer of 60 bytes, got 48");
  // The caller's buffer may be an input: it is written when the model has finished.
  model.out[0].data = model.a.data();
  model.out[0].bytes = 60;
  std::vector<float> before = model.a;
  ASSERT_EQ(model.run(), QUANTA_OK);
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(model.a[i], 2 * before[i] + model.b[i]);
}

TEST(Runtime, OutputsFeedTheNextRun) {
  Instance model;
  model.resize(6);
  ASSERT_EQ(model.run(), QUANTA_OK);
  for (int i = 0; i < 5; ++i) {
    auto *y = static_cast<float *>(model.out[0].data);
    std::vector<float> before(y, y + 18);
    model.in[0].data = y;
    ASSERT_EQ(model.run(), QUANTA_OK);
    for (size_t j = 0; j < before.size(); ++j)
      EXPECT_EQ(static_cast<float *>(model.out[0].data)[j], 2 * before[j] + model.b[j]);
  }
}

TEST(Runtime, InputsAreChecked) {
  Instance model;
  auto expectError = [&](auto change, const std::string &message) {
    model.resize(4);
    change(model.in);
    EXPECT_EQ(model.run(), QUANTA_INVALID);
    EXPECT_EQ(model.error(), "model 'hand': " + message);
  };
  using Tensors = quanta_tensor *;
  expectError([](Tensors in) { in[1].type = QUANTA_I8; }, "input 'b' must be f32, got i8");
  expectError([](Tensors in) { in[1].type = static_cast<quanta_type>(99); }, "input 'b' must be f32, got an unknown type");
  expectError([](Tensors in) { in[0].rank = 3; }, "input 'a' must have 2 dimensions, got 3");
  expectError([](Tensors in) { in[0].shape[1] = 4; }, "input 'a' must have 3 for dimension 1, got 4");
  expectError([](Tensors in) { in[0].shape[0] = -1; }, "input 'a' has the negative size -1 for dimension 0");
  expectError([](Tensors in) { in[1].shape[0] = 5; },
              "input 'b' has 5 for dimension 0, but that is 'batch', which is 4 in an input before it");
  expectError([](Tensors in) { in[0].bytes = 47; }, "input 'a' of this shape has 48 bytes, got 47");
  expectError([](Tensors in) { in[0].data = nullptr; }, "input 'a' has no data");
  expectError([](Tensors in) { in[0].data = static_cast<char *>(in[0].data) + 1; },
              "the data of input 'a' must be aligned to 4 bytes");
  expectError([](Tensors in) { in[0].shape[0] = INT64_MAX / 2; }, "input 'a' has a shape of more than 2^63 bytes");
  EXPECT_EQ(quanta_rt_run(model.rt, nullptr, model.out), QUANTA_INVALID);
  EXPECT_EQ(quanta_rt_run(nullptr, model.in, model.out), QUANTA_INVALID);
  model.resize(4);
  EXPECT_EQ(model.run(), QUANTA_OK);
  EXPECT_EQ(model.error(), "");
  EXPECT_TRUE(model.isRight());
}

TEST(Runtime, FailuresReturn) {
  Instance model(2);
  auto expectError = [&](float trouble, int status, const std::string &message) {
    model.resize(4);
    model.a[0] = trouble;
    EXPECT_EQ(model.run(), status);
    EXPECT_EQ(model.error(), "model 'hand': " + message);
    EXPECT_EQ(model.out[0].data, nullptr);
  };
  for (int i = 0; i < 3; ++i) {
    expectError(TEST_FAIL, QUANTA_FAILED, "it was asked to");
    expectError(TEST_CODE, QUANTA_FAILED, "failed with code 7");
    expectError(TEST_MEMORY, QUANTA_NO_MEMORY, "the sizes of its inputs need an array of more than 2^62 bytes");
    expectError(TEST_FORGET, QUANTA_FAILED, "output 'block' was not computed");
    model.resize(4);
    EXPECT_EQ(model.run(), QUANTA_OK);
    EXPECT_TRUE(model.isRight());
    EXPECT_EQ(quanta_rt_reset(model.rt), QUANTA_OK);
  }
}

TEST(Runtime, CacheGrowsUntilItIsResetOrFull) {
  Instance one({1, 0, nullptr, nullptr}, test_model_desc_cache), other({1, 0, nullptr, nullptr}, test_model_desc_cache);
  auto append = [](Instance &model, std::vector<float> values) {
    model.resize(static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i)
      model.a[3 * i] = values[i];
    return model.run();
  };
  auto expect = [](const Instance &model, float sum, int64_t count) {
    EXPECT_EQ(*static_cast<const float *>(model.out[0].data), sum);
    EXPECT_EQ(*static_cast<const int64_t *>(model.out[1].data), count);
  };
  ASSERT_EQ(append(one, {1, 2, 3}), QUANTA_OK) << one.error();
  ASSERT_EQ(append(one, {4}), QUANTA_OK);
  expect(one, 10, 4);
  ASSERT_EQ(append(other, {7}), QUANTA_OK); // has a cache of its own
  expect(other, 7, 1);
  // What does not fit changes nothing.
  EXPECT_EQ(append(one, {1, 1, 1, 1, 1}), QUANTA_FAILED);
  EXPECT_NE(one.error().find("full"), std::string::npos);
  ASSERT_EQ(append(one, {0, 0, 0, 1}), QUANTA_OK);
  expect(one, 11, 8);
  EXPECT_EQ(append(one, {1}), QUANTA_FAILED);
  ASSERT_EQ(quanta_rt_reset(one.rt), QUANTA_OK);
  ASSERT_EQ(append(one, {5}), QUANTA_OK);
  expect(one, 5, 1);
  // A failure after the cache was touched.
  EXPECT_EQ(append(one, {TEST_FAIL, 2}), QUANTA_FAILED);
  EXPECT_EQ(append(one, {1}), QUANTA_INVALID);
  EXPECT_NE(one.error().find("reset the model first"), std::string::npos);
  ASSERT_EQ(quanta_rt_reset(one.rt), QUANTA_OK);
  ASSERT_EQ(append(one, {6}), QUANTA_OK);
  expect(one, 6, 1);
}

TEST(Runtime, CreateFailsWithAMessage) {
  quanta_rt *rt = nullptr;
  quanta_rt_desc desc = test_model_desc;
  desc.abi = QUANTA_ABI + 1;
  EXPECT_EQ(quanta_rt_create(&desc, nullptr, &rt), QUANTA_INVALID);
  EXPECT_EQ(rt, nullptr);
  EXPECT_NE(std::string(quanta_rt_last_error(nullptr)).find("interface version"), std::string::npos);
  quanta_options options = {-1, 0, nullptr, nullptr};
  EXPECT_EQ(quanta_rt_create(&test_model_desc, &options, &rt), QUANTA_INVALID);
  EXPECT_EQ(quanta_rt_create(&test_model_desc, nullptr, nullptr), QUANTA_INVALID);
  quanta_rt_destroy(nullptr);
}

TEST(Runtime, WeightsFile) {
  std::string path = testing::TempDir() + "quanta-weights.bin";
  auto create = [&](uint64_t hash, size_t extra) {
    std::FILE *file = std::fopen(path.c_str(), "wb");
    float weights[] = {2, 3};
    quanta_weights_trailer trailer;
    std::memcpy(trailer.magic, QUANTA_WEIGHTS_MAGIC, sizeof trailer.magic);
    trailer.hash = hash;
    std::fwrite(weights, 1, sizeof weights, file);
    std::fwrite(&trailer, 1, sizeof trailer, file);
    for (size_t i = 0; i < extra; ++i)
      std::fputc(0, file);
    std::fclose(file);
    return std::make_unique<Instance>(quanta_options{1, 0, path.c_str(), nullptr}, test_model_desc_external);
  };
  auto model = create(99, 0);
  ASSERT_EQ(model->status, QUANTA_OK) << quanta_rt_last_error(nullptr);
  model->resize(7);
  EXPECT_EQ(model->run(), QUANTA_OK);
  EXPECT_TRUE(model->isRight());
  model.reset();
  EXPECT_EQ(create(98, 0)->status, QUANTA_INVALID);
  EXPECT_NE(std::string(quanta_rt_last_error(nullptr)).find("another compilation"), std::string::npos);
  EXPECT_EQ(create(99, 1)->status, QUANTA_INVALID);
  EXPECT_NE(std::string(quanta_rt_last_error(nullptr)).find("must have 24 bytes, has 25"), std::string::npos);
  std::remove(path.c_str());
  EXPECT_EQ(Instance(quanta_options{1, 0, path.c_str(), nullptr}, test_model_desc_external).status, QUANTA_INVALID);
  EXPECT_EQ(Instance(quanta_options{1, 0, nullptr, nullptr}, test_model_desc_external).status, QUANTA_INVALID);
  EXPECT_NE(std::string(quanta_rt_last_error(nullptr)).find("weights_file"), std::string::npos);
}

TEST(Runtime, CodeIsChosenByTheFeaturesOfTheCPU) {
  // The models of all other tests have code for a CPU that does not exist before the code that runs.
  EXPECT_EQ(quanta_cpu_features() >> 63, 0u);
#ifdef __x86_64__
  EXPECT_EQ(quanta_cpu_features() & 1, 1u) << "every CPU of the last twenty years has SSE3";
  EXPECT_EQ(quanta_cpu_features() >> 13 & 1, static_cast<uint64_t>(__builtin_cpu_supports("avx2") != 0));
  EXPECT_EQ(quanta_cpu_features() >> 15 & 1, static_cast<uint64_t>(__builtin_cpu_supports("avx512f") != 0));
  // Only tiles need permission: the last two features of the list.
  EXPECT_TRUE(quanta_cpu_permit((uint64_t(1) << 29) - 1));
  bool hasTiles = quanta_cpu_features() >> 29 & 1;
  EXPECT_TRUE(!hasTiles || quanta_cpu_permit(uint64_t(1) << 29)) << "Linux saves tiles for whoever asks";
#endif
  EXPECT_EQ(Instance(quanta_options{1, 0, nullptr, nullptr}, test_model_desc_future).status, QUANTA_FAILED);
  EXPECT_NE(std::string(quanta_rt_last_error(nullptr)).find("this CPU does not have all instructions"), std::string::npos);
}

TEST(Runtime, IsEmbedded) {
  for (const char *architecture : {"x86_64", "aarch64"}) {
    const quanta::EmbeddedRuntime *embedded = quanta::findEmbeddedRuntime(architecture);
    ASSERT_NE(embedded, nullptr);
    for (const quanta::EmbeddedFile &file : {embedded->runtime, embedded->runner}) {
      ASSERT_GT(file.size, 1000u);
      EXPECT_EQ(std::memcmp(file.data, "BC\xC0\xDE", 4), 0);
    }
  }
  EXPECT_EQ(quanta::findEmbeddedRuntime("riscv64"), nullptr);
  auto *header = reinterpret_cast<const char *>(quanta::getEmbeddedHeader().data);
  EXPECT_EQ(std::strlen(header), quanta::getEmbeddedHeader().size);
  EXPECT_NE(std::strstr(header, "quanta_pool_create"), nullptr);
}
} // namespace
