// Makes the moments that the tests of this folder read: make-moments FOLDER. Link it with QuantaCalibrate.
#include "quanta/Calibrate/Moments.h"
#include <random>

using namespace quanta;

/// Inputs that share a common part; channel `dead` is always zero.
static LayerMoments make(int64_t channels, int64_t blocks, int64_t dead, bool cross, int64_t rows) {
  std::mt19937 random(5);
  auto normal = [&] {
    double sum = 0;
    for (int i = 0; i < 12; ++i)
      sum += random() / 4294967296.0;
    return sum - 6;
  };
  LayerMoments moments;
  moments.channels = channels;
  moments.blocks = blocks;
  moments.fitRows = rows;
  moments.heldOutRows = rows / 7;
  size_t size = blocks * channels * channels;
  auto add = [&](std::vector<double> &to, std::vector<double> *cross, int64_t count) {
    to.assign(size, 0);
    if (cross)
      cross->assign(size, 0);
    for (int64_t row = 0; row < blocks * count; ++row) {
      double common = normal();
      std::vector<double> x(channels), original(channels);
      for (int64_t j = 0; j < channels; ++j) {
        x[j] = j == dead ? 0 : (normal() + 2 * common) / (1 + j % 3);
        original[j] = j == dead ? 0 : x[j] + 0.2 * normal();
      }
      for (int64_t i = 0; i < channels; ++i)
        for (int64_t j = 0; j < channels; ++j) {
          size_t at = (row / count * channels + i) * channels + j;
          to[at] += x[i] * x[j] / count;
          if (cross)
            (*cross)[at] += original[i] * x[j] / count;
        }
    }
  };
  add(moments.fit, cross ? &moments.cross : nullptr, rows);
  add(moments.heldOut, nullptr, rows / 7);
  for (int64_t j = 0; j < channels * blocks; ++j) {
    moments.absMax.push_back(3.0f / (1 + j % 3));
    moments.absMean.push_back(1.0f / (1 + j % 3));
  }
  return moments;
}

int main(int count, char **arguments) {
  auto save = [&](const LayerMoments &moments, const char *name) {
    if (llvm::Error error = saveMoments(moments, std::string(arguments[1]) + "/" + name))
      llvm::report_fatal_error(std::move(error));
  };
  save(make(8, 1, -1, true, 700), "correlated.moments");
  save(make(8, 1, 2, false, 700), "dead.moments");
  save(make(4, 2, -1, false, 700), "grouped.moments");
  LayerMoments indefinite = make(8, 1, -1, false, 700);
  indefinite.fit[1] = indefinite.fit[8] = 50;
  save(indefinite, "indefinite.moments");
  LayerMoments empty = make(8, 1, -1, false, 700);
  empty.fitRows = 0;
  empty.fit.assign(empty.fit.size(), 0);
  save(empty, "empty.moments");
}
