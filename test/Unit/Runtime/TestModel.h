//===- TestModel.h - A model written by hand ----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TEST_RUNTIME_TESTMODEL_H
#define QUANTA_TEST_RUNTIME_TESTMODEL_H

#include "quanta_rt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = w·a + b for a and b of [batch, 3] f32, computed in parallel, with w = 2 from the weights; `block`, i64 [1], is where
 * a temporary lay. The first element of a asks for trouble. */
extern const quanta_rt_desc test_model_desc;
extern const quanta_rt_desc test_model_desc_external; /* with weights from a file: the same two floats, hash 99 */
extern const quanta_rt_desc test_model_desc_future; /* for a CPU that does not exist */
/* The same with a cache of 8 positions of one float: appends the a[0] of each row, and b[0] says what was there. */
extern const quanta_rt_desc test_model_desc_cache;
extern const quanta_api quanta_api_table;

#define TEST_FAIL (-1.0f)   /* quanta_rt_fail("it was asked to") while it holds blocks */
#define TEST_CODE (-2.0f)   /* the entry returns 7 */
#define TEST_MEMORY (-3.0f) /* asks for more memory than there is */
#define TEST_FORGET (-4.0f) /* does not set `block` */
#define TEST_NESTED (-5.0f) /* regions inside regions */

#ifdef __cplusplus
}
#endif
#endif
