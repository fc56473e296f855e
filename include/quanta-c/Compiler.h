/*===- Compiler.h - C interface of the compiler ---------------------------------------------------------------*- C -*-===*
 *
 * The interface of libQuantaC.so, for bindings. Running a compiled model needs none of it: see quanta/Runtime/quanta.h.
 *
 * Functions may be called from any thread. Compilations that are asked for at the same time run one after the other, each
 * on as many threads as its options say.
 *===----------------------------------------------------------------------------------------------------------------------===*/
#ifndef QUANTA_C_COMPILER_H
#define QUANTA_C_COMPILER_H

#include <stdint.h>

#if defined(__GNUC__)
#define QUANTA_C_EXPORT __attribute__((visibility("default")))
#else
#define QUANTA_C_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  QuantaStatusOk = 0,
  QuantaStatusInvalid = 1,      /* the model cannot be compiled as asked */
  QuantaStatusImportProblem = 2 /* the ONNX file cannot be read; the report lists why */
} QuantaStatus;

typedef enum { QuantaSeverityError = 0, QuantaSeverityWarning = 1 } QuantaSeverity;

/* Called on the thread that called quantaCompile; `message` lives until it returns. */
typedef void (*QuantaDiagnosticHandler)(QuantaSeverity severity, const char *message, void *userData);

/* What quantc's options say; made with their defaults. One set may serve several compilations. */
typedef struct QuantaCompileOptions QuantaCompileOptions;

QUANTA_C_EXPORT QuantaCompileOptions *quantaCompileOptionsCreate(void);
QUANTA_C_EXPORT void quantaCompileOptionsDestroy(QuantaCompileOptions *options);

/* Sets an option of quantc by its name, given as on the command line:
 *   input, output, emit, name, recipe, pass-pipeline, keep, mtriple, mcpu (joined by commas), O, threads, weights,
 *   compile-to, compile-from, report, calib, calib-samples, window, seed, store, resume (true or false)
 * Returns null, or what is wrong with the name or the value, valid until the thread's next call. */
QUANTA_C_EXPORT const char *quantaCompileOptionsSet(QuantaCompileOptions *options, const char *name, const char *value);

/* Fixes the size of a symbolic dimension. The same result as above. */
QUANTA_C_EXPORT const char *quantaCompileOptionsSetDim(QuantaCompileOptions *options, const char *name, int64_t size);

/* Compiles. Returns a QuantaStatus; a failure has been said to `handler` (which may be null) as at least one error. If
 * `report` is not null, it receives what `quantc --report` writes as JSON, to be freed by quantaStringDestroy. */
QUANTA_C_EXPORT int quantaCompile(const QuantaCompileOptions *options, QuantaDiagnosticHandler handler, void *userData,
                                  char **report);

QUANTA_C_EXPORT void quantaStringDestroy(char *string);

/* "0.1.0" */
QUANTA_C_EXPORT const char *quantaVersion(void);

#ifdef __cplusplus
}
#endif
#endif /* QUANTA_C_COMPILER_H */
