/* The model of a chain: see model.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maker.h"
#include "model.h"
#include "plan.h"

struct mk_piece
mk_piece_of (const struct mk_spec *spec)
{
  struct mk_piece p = {
    .type = MK_PIECE_EXTENT, .start = spec->guest_start,
    .length = spec->capacity, .spec = spec,
  };

  return p;
}

struct answer {
  enum mk_model_kind kind;
  int layer;
  struct mk_fill fill;          /* of the data; fn NULL: zeros */
  uint64_t end;
};

/* False: nothing here, look further down. */
static bool
ask_piece (const struct mk_piece *p, uint64_t offset, struct answer *a)
{
  const struct mk_spec *spec = p->spec;
  uint64_t grain, end;

  a->fill.fn = NULL;
  a->kind = MK_MODEL_ZERO;
  switch (p->type) {
  case MK_PIECE_ZERO:
    return true;
  case MK_PIECE_FLAT:
    a->kind = MK_MODEL_DATA;
    a->fill = p->fill;
    return true;
  case MK_PIECE_EXTENT:
    break;
  }

  grain = (offset - p->start) / spec->grain_size;
  end = p->start + (grain + 1) * spec->grain_size;
  if (end < a->end)
    a->end = end;
  switch (spec->map.kind (spec->map.opaque, grain)) {
  case MK_HOLE:
    return false;
  case MK_ZERO:
  case MK_UNMAPPED:
    return true;
  case MK_DATA:
    break;
  }
  a->kind = MK_MODEL_DATA;
  a->fill = spec->fill;
  return true;
}

static const struct mk_piece *
find_piece (const struct mk_layer *layer, uint64_t offset)
{
  for (size_t i = 0; i < layer->n; i++)
    if (offset >= layer->pieces[i].start &&
        offset - layer->pieces[i].start < layer->pieces[i].length)
      return &layer->pieces[i];
  return NULL;
}

static void
ask (const struct mk_model *m, uint64_t offset, struct answer *a)
{
  memset (a, 0, sizeof *a);
  a->end = offset < m->capacity ? m->capacity : UINT64_MAX;
  a->kind = MK_MODEL_BASE;
  a->layer = -1;
  if (offset >= m->capacity)
    return;

  for (size_t i = m->n; i-- > 0;) {
    const struct mk_piece *p = find_piece (&m->layers[i], offset);

    if (p == NULL)              /* behind the end of a short layer */
      return;
    if (p->start + p->length < a->end)
      a->end = p->start + p->length;
    if (ask_piece (p, offset, a)) {
      a->layer = (int) i;
      return;
    }
  }

  a->kind = MK_MODEL_BASE;
  a->fill.fn = NULL;
  if (offset < m->base_size) {
    a->fill = m->base;
    if (m->base_size < a->end)
      a->end = m->base_size;
  }
}

enum mk_model_kind
mk_model_kind (const struct mk_model *model, uint64_t offset, int *layer,
               uint64_t *end)
{
  struct answer a;

  ask (model, offset, &a);
  if (layer)
    *layer = a.layer;
  if (end)
    *end = a.end;
  return a.kind;
}

void
mk_model_read (const struct mk_model *model, void *buf, size_t n,
               uint64_t offset)
{
  uint8_t *p = buf;

  while (n > 0) {
    struct answer a;
    size_t len = n;

    ask (model, offset, &a);
    if (a.end - offset < len)
      len = (size_t) (a.end - offset);
    if (a.fill.fn)
      a.fill.fn (a.fill.opaque, p, len, offset);
    else
      memset (p, 0, len);
    p += len;
    n -= len;
    offset += len;
  }
}

static int
write_raw (const struct mk_model *m, const char *path, uint64_t size)
{
  enum { CHUNK = 1 << 20, BLOCK = 4096 };
  static const uint8_t zeros[BLOCK];
  struct mk_sink sink;
  uint8_t *buf;
  int r;

  if (mk_sink_create (&sink, path) == -1)
    return -1;
  buf = mk_alloc (CHUNK, 1);
  r = sink.truncate (sink.opaque, size);
  for (uint64_t at = 0; at < size && r == 0; at += CHUNK) {
    size_t n = size - at < CHUNK ? (size_t) (size - at) : CHUNK;

    mk_model_read (m, buf, n, at);
    for (size_t i = 0; i < n && r == 0; i += BLOCK) {
      size_t len = n - i < BLOCK ? n - i : BLOCK;

      if (memcmp (buf + i, zeros, len) != 0)
        r = sink.pwrite (sink.opaque, buf + i, len, at + i);
    }
  }
  free (buf);
  if (mk_sink_close (&sink) == -1)
    r = -1;
  return r;
}

int
mk_model_write_raw (const struct mk_model *model, const char *path)
{
  return write_raw (model, path, model->capacity);
}

int
mk_model_write_base (const struct mk_model *model, const char *path)
{
  struct mk_model base = *model;

  base.n = 0;
  base.capacity = base.base_size;
  return write_raw (&base, path, base.base_size);
}
