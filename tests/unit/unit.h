/* What the unit tests share: images in memory, temporary directories, files
 * that count or fail, and checks of error messages.
 *
 * Functions here fail the running test themselves when something that has to
 * work does not.
 */

#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Deprecated in cmocka 2: a warning there, and so an error for "make matrix". */
#undef assert_in_range
#undef assert_in_set
#pragma GCC poison assert_in_range assert_in_set
/* A macro of cmocka 2: no function can have this name. */
#ifndef stop
#define stop() (a_name_of_cmocka_2)
#endif

#include "base/bytes.h"
#include "maker.h"
#include "model.h"
#include "vmdkdelta.h"

#define TEST(name) static void name (void **state __attribute__ ((unused)))
#define ARRAY_SIZE(a) (sizeof (a) / sizeof (a)[0])
#define KIB UINT64_C (1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* ---- Errors and warnings ------------------------------------------------ */

/* err has this code, and its message holds all the texts that follow.  It is
 * one line.
 */
#define assert_err(err, code, ...) \
  u_assert_err (err, code, __FILE__, __LINE__, __VA_ARGS__, NULL)
extern void u_assert_err (const struct vd_err *err, enum vd_code code,
                          const char *file, int line, ...)
  __attribute__ ((__sentinel__));

#define assert_text(text, part) \
  u_assert_text (text, part, __FILE__, __LINE__)
extern void u_assert_text (const char *text, const char *part,
                           const char *file, int line);

/* Fails the test with the message when p is NULL. */
#define assert_opened(p, err) u_assert_opened (p, err, __FILE__, __LINE__)
extern void u_assert_opened (const void *p, const struct vd_err *err,
                             const char *file, int line);

/* Collects warnings. */
struct u_log {
  unsigned n;
  char text[16384];
};
extern struct vd_opts u_opts (struct u_log *log);

/* ---- Images in memory --------------------------------------------------- */

struct u_image {
  struct mk_spec spec;
  struct mk_mem mem;
  struct mk_layout layout;
};

extern void u_make (struct u_image *m, const struct mk_spec *spec);
extern void u_free (struct u_image *m);

extern uint64_t u_get (const struct u_image *m, uint64_t off, unsigned bytes);
extern void u_put (struct u_image *m, uint64_t off, unsigned bytes,
                   uint64_t value);

/* A grain that is there. */
extern const struct mk_where *u_grain (const struct u_image *m,
                                       uint64_t grain);

/* Opens as "m.vmdk"; NULL with err. */
extern struct vd_image *u_open (const struct u_image *m,
                                const struct vd_opts *opts,
                                struct vd_err *err);
/* The same, and has to work. */
extern struct vd_image *u_open_ok (const struct u_image *m);

/* Each case sets one field of a header and says what opening answers: VD_OK,
 * or an error with these parts in its message (and the file's name).
 */
struct u_field {
  unsigned off, bytes;
  uint64_t value;
  enum vd_code code;
  const char *part[4];
};
extern void u_check_fields (const struct u_image *m,
                            const struct u_field *field, size_t n);

/* The run that holds one byte. */
extern struct vd_run u_run (const struct vd_image *image, uint64_t offset);
#define assert_kind(image, offset, want) \
  assert_int_equal (u_run (image, offset).kind, want)

/* The byte is damaged, and explained like this. */
#define assert_damaged(image, offset, code, ...)                        \
  do {                                                                  \
    struct vd_err err_;                                                 \
                                                                        \
    assert_kind (image, offset, VD_DAMAGED);                            \
    assert_int_equal ((image)->fmt->explain (image, offset, &err_), -1); \
    assert_err (&err_, code, "m.vmdk", __VA_ARGS__);                    \
  } while (0)

/* ---- Disks: links in memory, and a reader ------------------------------- */

struct u_disk {
  struct vd_link *links[8];     /* oldest first */
  size_t nr_links;
  struct vd_chain *chain;
  struct vd_reader *reader;
  struct vd_base base;
};

extern struct vd_link *u_link (const struct u_image *m);
extern struct vd_link *u_link_file (struct vd_file *file,
                                    const struct vd_opts *opts);
/* Takes the links, oldest first.  The base is borrowed, and may be NULL. */
extern void u_disk_open (struct u_disk *d, struct vd_link **links, size_t n,
                         struct vd_file *base, uint64_t budget);
extern void u_disk_open_one (struct u_disk *d, const struct u_image *m,
                             struct vd_file *base);
extern void u_disk_close (struct u_disk *d);

/* Reads and compares with what the model says. */
extern void u_compare (struct u_disk *d, const struct mk_model *model,
                       uint64_t offset, size_t n);
/* The same with n bytes from offset of what an image alone says. */
extern void u_compare_spec (struct u_disk *d, const struct mk_spec *spec,
                            uint64_t offset, size_t n);
/* Reading fails like this. */
#define assert_unreadable(d, offset, n, code, ...)                      \
  do {                                                                  \
    struct vd_err err_;                                                 \
    uint8_t *buf_ = malloc (n);                                         \
                                                                        \
    assert_int_equal (vd_read ((d)->reader, &(d)->base, buf_, n, offset, \
                               &err_), -1);                             \
    free (buf_);                                                        \
    assert_err (&err_, code, __VA_ARGS__);                              \
  } while (0)

/* ---- Files that watch --------------------------------------------------- */

/* Counts and disturbs the reads of the file below it, which it owns. */
struct u_spy {
  struct vd_file file;
  struct vd_file *under;
  atomic_uint preads;
  atomic_uint_fast64_t bytes;
  unsigned fail_every;          /* n: every n-th read fails */
  uint64_t bad, bad_end;        /* reads that touch these bytes fail */
  uint64_t align;               /* if not 0, reads must be aligned to it,
                                   except at the end of the file */
  uint64_t granule;             /* says what is a hole, by zeros in blocks of
                                   so many bytes; 0: all is data */
  unsigned max_pieces;          /* of one answer; 0: no limit */
  unsigned asked;               /* for extents */
};
extern struct u_spy *u_spy (struct vd_file *under);

extern struct vd_file *u_memory (const char *name, const void *data,
                                 size_t size);

/* ---- Directories -------------------------------------------------------- */

/* A new directory, which is the test's current one until it ends. */
extern int u_enter_tmpdir (void **state);
extern int u_leave_tmpdir (void **state);
#define tmpdir_test(f) \
  cmocka_unit_test_setup_teardown (f, u_enter_tmpdir, u_leave_tmpdir)

extern void u_write (const char *path, const void *data, size_t n);
extern void u_write_text (const char *path, const char *text);
extern void u_write_image (const char *path, const struct mk_spec *spec);

#endif /* UNIT_H */
