/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What the fuzz targets share.
 *
 * A target is a file target-NAME.c with one LLVMFuzzerTestOneInput.  Built with
 * clang's libFuzzer it makes up inputs; built with anything else (replay.c)
 * it is a program that is given inputs as files, as tests/test-corpus.sh does.
 *
 * Nothing here touches the disk.  An input is a packed set of files (see
 * pack.h), which memory.c serves instead of the library's own confine.c,
 * scandir.c and vd_file_open.  Reading them is limited for each input; past that
 * every read fails, so that no input can take long, and so that errors of
 * reading are met everywhere.
 */

#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmdkdelta.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

/* ---- Failing ------------------------------------------------------------ */

/* A property does not hold: say which, and abort. */
extern void fz_die (const char *file, int line, const char *fs, ...)
  __attribute__ ((__noreturn__, __format__ (__printf__, 3, 4)));

#define fz_require(cond, ...) \
  do { if (!(cond)) fz_die (__FILE__, __LINE__, __VA_ARGS__); } while (0)

/* Every error has a code, and one line of text that is safe to print. */
extern void fz_check_err (const struct vd_err *err);

/* Between calls: so that an error that was not filled shows. */
static inline void
fz_clear (struct vd_err *err)
{
  err->code = VD_OK;
  err->msg[0] = '\0';
}

/* ---- Files in memory (memory.c) ----------------------------------------- */

#define FZ_MAX_FILES 6u

/* Their names; the first is the one that "the user" gives. */
extern const char *const fz_names[FZ_MAX_FILES];

/* Takes a packed input apart.  Returns the number of files, at least 1. */
extern size_t fz_load (const uint8_t *data, size_t n);

/* Eight bits that a target may use as it likes. */
extern unsigned fz_bits;

/* Let file i begin with these bytes (borrowed), whatever the input says. */
extern void fz_set (size_t i, uint64_t offset, const void *bytes, uint32_t n);

/* Opens a file of the input. */
extern struct vd_file *fz_file (size_t i);

/* The bytes of a file as they are, without limit. */
extern void fz_bytes (size_t i, void *buf, size_t n, uint64_t offset);

/* Was reading cut off for this input? */
extern bool fz_spent (void);

/* How often its files were read so far. */
extern uint64_t fz_reads (void);

/* The base below deltas: bytes that depend on their place, zeros in every
 * fourth 64 KiB, which are said to be holes.
 */
extern struct vd_file *fz_base (uint64_t size);

/* ---- Properties (disk.c, compare.c) ------------------------------------- */

/* A number made of the input and of salt, below n > 0. */
extern uint64_t fz_choose (uint64_t salt, uint64_t n);

/* Everything that has to hold for a disk that opened; base may be NULL. */
extern void fz_check_disk (const struct vd_chain *chain,
                           struct vd_file *base);

/* What chain and base have at this place, found without reader and caches.
 * 0; -1: it cannot be read; 1: reading was cut off, nobody knows.
 */
extern int fz_expect (const struct vd_chain *chain, struct vd_file *base,
                      uint8_t *buf, size_t n, uint64_t offset);

/* A check of the link agrees with what can be read. */
extern void fz_check_check (struct vd_link *link,
                            const struct vd_chain *chain);

/* One file of the format whose magic, at this place, is given: everything
 * that has to hold (image.c).
 */
extern int fz_image (const uint8_t *data, size_t n, unsigned where,
                     const void *magic, uint32_t magic_size);

#endif /* FUZZ_H */
