/* Writing a case into a directory, in its own form and in one for QEMU.
 *
 * What QEMU (7.2) wants to read the same bytes, and what it cannot do:
 *
 *   - the base has to be a VMDK; a raw file gives "Invalid argument" at the
 *     first hole, as the CID cannot be looked up;
 *   - header keys have VMware's spelling, no blanks around the = sign; the
 *     first letters "CID" of the text are those of the key;
 *   - an embedded descriptor is at byte 512;
 *   - extent lines that are not RW (or are ZERO) are left out, and what
 *     follows moves down;
 *   - the size of an extent is that of its header, not of its line;
 *   - a read runs on to the end of the grain even if the extent ends before
 *     it, so a piece that is not the last one must be whole grains: otherwise
 *     the start of the next piece is read from behind the end of this one
 *     (or from the base, or fails in a compressed grain that is cut).  The
 *     same sectors asked for alone come from the right piece, so this is a
 *     fault of QEMU and not another reading of the format;
 *   - tables have 512 entries at most;
 *   - a footer is looked for at the end of the file that was opened: the
 *     descriptor's, if that is a file of its own, and only at whole sectors
 *     (a size that is not a multiple of 512 is rounded up);
 *   - reserved fields of SEsparse are 0.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "plan.h"

static bool
is_footer (const struct mk_spec *s)
{
  return s->format == MK_STREAM && s->style == MK_STREAM_FOOTER;
}

static const char *
why_not (const struct mk_case_link *link)
{
  for (size_t i = 0; i < link->n; i++) {
    const struct mk_case_piece *p = &link->piece[i];
    const struct mk_spec *s = &p->spec;

    if (strcmp (p->type, "ZERO") == 0)
      return "zero-extent";
    if (s->gtes > 512)
      return "tables-over-512";
    if (s->reserved1)
      return "sesparse-reserved1";
    if (s->format && i + 1 < link->n && p->length % s->grain_size != 0)
      return s->round_capacity ? "rounded-middle-piece"
                               : "middle-piece-cuts-grain";
    if (is_footer (s) && link->n > 1)
      return "footer-behind-descriptor";
    if (is_footer (s) && s->slack)
      return "footer-odd-tail";
  }
  return NULL;
}

/* Can QEMU be given the link as it is? */
static bool
as_it_is (const struct mk_case_link *link)
{
  const struct mk_spec *s = &link->piece[0].spec;

  if (link->style &
      (MK_STYLE_BLANKS | MK_STYLE_LOWER | MK_STYLE_CID_COMMENT))
    return false;
  for (size_t i = 0; i < link->n; i++)
    if (strcmp (link->piece[i].access, "RW") != 0)
      return false;
  switch (link->form) {
  case MK_FORM_BARE:
    return false;
  case MK_FORM_EMBEDDED:
    return s->descriptor_sector <= 1;
  case MK_FORM_DESCRIPTOR:
    break;
  }
  return !is_footer (s);
}

void
mk_case_for_qemu (struct mk_case *c)
{
  bool chain = true;            /* hints below lead to readable links */

  c->qemu_ok = true;
  for (size_t k = 0; k < c->n; k++) {
    struct mk_case_link *link = &c->link[k];

    link->qemu_why = why_not (link);
    if (link->qemu_why && c->qemu_ok) {
      c->qemu_ok = false;
      c->qemu_why = link->qemu_why;
    }
    chain = chain && as_it_is (link);
    if (chain)
      memcpy (link->qemu_name, link->name, MK_NAME);
    else
      snprintf (link->qemu_name, MK_NAME, "qemu-%u.vmdk", (unsigned) k + 1);
  }
}

static char *
in_dir (const char *dir, const char *name)
{
  size_t n = strlen (dir) + strlen (name) + 2;
  char *path = mk_alloc (n, 1);

  snprintf (path, n, "%s/%s", dir, name);
  return path;
}

static int
write_in (const char *dir, const char *name, const char *text, size_t len)
{
  char *path = in_dir (dir, name);
  int r = mk_write_file (path, text, len);

  free (path);
  return r;
}

/* The text of link K, for QEMU or not, naming ONLY as its one extent if that
 * is not NULL.
 */
static char *
text_of (const struct mk_case *c, size_t k, bool qemu, const char *only,
         size_t *len)
{
  const struct mk_case_link *link = &c->link[k];
  struct mk_line line[MK_MAX_PIECES];
  struct mk_descriptor d = {
    .lines = line, .n_lines = link->n, .cid = link->cid,
    .parent_cid = k ? c->link[k - 1].cid : c->base_cid,
    .create_type = link->create_type, .version = link->version,
    .style = qemu ? 0 : link->style,
  };

  d.hint = k == 0 ? "base.vmdk" :
    qemu ? c->link[k - 1].qemu_name : c->link[k - 1].name;
  for (size_t i = 0; i < link->n; i++) {
    const struct mk_case_piece *p = &link->piece[i];

    line[i].access = qemu ? "RW" : p->access;
    line[i].sectors = p->length / MK_SECTOR;
    line[i].type = p->type;
    line[i].name = only ? only : p->name[0] ? p->name : NULL;
    line[i].offset = p->flat_offset;
  }
  if (only)
    d.create_type = link->piece[0].spec.format == MK_STREAM ?
      "streamOptimized" : "monolithicSparse";
  return mk_descriptor (&d, len);
}

static int
write_embedded (const struct mk_case *c, size_t k, bool qemu,
                const char *dir)
{
  const struct mk_case_link *link = &c->link[k];
  struct mk_spec spec = link->piece[0].spec;
  const char *name = qemu ? link->qemu_name : link->name;
  char *path = in_dir (dir, name), *text;
  int r;

  text = text_of (c, k, qemu, name, &spec.descriptor_len);
  spec.descriptor = text;
  if (qemu)
    spec.descriptor_sector = 0;
  r = mk_make_file (&spec, path, NULL);
  free (text);
  free (path);
  return r;
}

/* Junk up to the offset, then the layer's data. */
static int
write_flat (const struct mk_case_piece *p, struct mk_fill fill,
            const char *path)
{
  enum { CHUNK = 65536 };
  uint64_t skip = p->flat_offset > 0 ? (uint64_t) p->flat_offset : 0;
  uint8_t *buf = mk_alloc (CHUNK, 1);
  struct mk_sink sink;
  int r;

  if (mk_sink_create (&sink, path) == -1) {
    free (buf);
    return -1;
  }
  skip *= MK_SECTOR;
  mk_junk (p->start, buf, (size_t) skip);
  r = sink.pwrite (sink.opaque, buf, (size_t) skip, 0);
  for (uint64_t at = 0; at < p->length && r == 0; at += CHUNK) {
    size_t n = p->length - at < CHUNK ? (size_t) (p->length - at) : CHUNK;

    fill.fn (fill.opaque, buf, n, p->start + at);
    r = sink.pwrite (sink.opaque, buf, n, skip + at);
  }
  if (mk_sink_close (&sink) == -1)
    r = -1;
  free (buf);
  return r;
}

static int
write_pieces (const struct mk_case_link *link, const char *dir)
{
  for (size_t i = 0; i < link->n; i++) {
    const struct mk_case_piece *p = &link->piece[i];
    char *path;
    int r;

    if (p->name[0] == '\0')
      continue;
    path = in_dir (dir, p->name);
    if (p->spec.format)
      r = mk_make_file (&p->spec, path, NULL);
    else
      r = write_flat (p, link->model[i].fill, path);
    free (path);
    if (r == -1)
      return -1;
  }
  return 0;
}

static int
write_text (const struct mk_case *c, size_t k, bool qemu, const char *dir)
{
  size_t len;
  char *text = text_of (c, k, qemu, NULL, &len);
  int r = write_in (dir, qemu ? c->link[k].qemu_name : c->link[k].name,
                    text, len);

  free (text);
  return r;
}

static int
write_link (const struct mk_case *c, size_t k, const char *dir)
{
  const struct mk_case_link *link = &c->link[k];
  const struct mk_spec *s = &link->piece[0].spec;
  int r;

  if (link->form == MK_FORM_EMBEDDED)
    r = write_embedded (c, k, false, dir);
  else
    r = write_pieces (link, dir);
  if (r == 0 && link->form == MK_FORM_DESCRIPTOR)
    r = write_text (c, k, false, dir);
  if (r == -1 || !c->qemu_ok || strcmp (link->name, link->qemu_name) == 0)
    return r;

  /* Another descriptor for the same extent, unless QEMU needs it inside. */
  if (link->form == MK_FORM_EMBEDDED || is_footer (s))
    return write_embedded (c, k, true, dir);
  return write_text (c, k, true, dir);
}

static int
write_base (const struct mk_case *c, const char *dir)
{
  bool vmfs = c->seed % 2;
  struct mk_line line = {
    .sectors = mk_div_up (c->base_size, MK_SECTOR),
    .type = vmfs ? "VMFS" : "FLAT", .name = "base.raw",
    .offset = vmfs ? -1 : 0,
  };
  struct mk_descriptor d = {
    .lines = &line, .n_lines = 1, .cid = c->base_cid,
    .parent_cid = 0xffffffff,
    .create_type = vmfs ? "vmfs" : "monolithicFlat",
  };
  size_t len;
  char *text = mk_descriptor (&d, &len), *path;
  int r = write_in (dir, "base.vmdk", text, len);

  free (text);
  if (r == -1)
    return -1;
  path = in_dir (dir, "base.raw");
  r = mk_model_write_base (&c->model, path);
  free (path);
  return r;
}

int
mk_case_write (const struct mk_case *c, const char *dir)
{
  if (write_base (c, dir) == -1)
    return -1;
  for (size_t k = 0; k < c->n; k++)
    if (write_link (c, k, dir) == -1)
      return -1;
  return 0;
}
