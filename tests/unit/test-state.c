/* The note of what a target holds: what is written is what is read, and nothing that is
 * written there by accident or on purpose is believed without a look.
 */

#include "apply/state.h"
#include "base/records.h"
#include "unit.h"

#define FIRST "vmdkdelta-state 1\n"

static const char good[] =
  "target 74 1048576\n"
  "disk 1048576\n"
  "run finished 0123456789abcdef 2f642e766d646b -\n"
  "from 0123456789abcdef 00000001 - - -\n"
  "to fedcba9876543210 00000002 622a0911-bc78-4b7a-a6ec-7359a068de8a 00000003"
  " 00010203-0405-0607-0809-0a0b00000002\n"
  "past 0000000000000001 - - - -\n"
  "temp 0000abcd\n"
  "sync copy end 0000000000000007 65536 1000 2f62\n"
  "stamp 1 2 3 4 5 6\n"
  "held 4096\n"
  "first 0 4096 00000000\n"
  "moved\n"
  "sample 1044480 4096 ffffffff\n";

/* Write it with the right end, and read it. */
static struct vd_target_state *
read_note (const char *body, size_t n, struct vd_err *err)
{
  const size_t len = strlen (FIRST) + n;
  char *text = malloc (len + VD_RECORDS_END + 1);
  struct vd_target_state *s;
  char end[VD_RECORDS_END + 1];

  memcpy (text, FIRST, strlen (FIRST));
  memcpy (text + strlen (FIRST), body, n);
  vd_records_end (end, text, len);
  memcpy (text + len, end, sizeof end);
  u_write ("note", text, len + VD_RECORDS_END);
  free (text);
  err->msg[0] = '\0';
  if (vd_target_state_read ("note", &s, err) == 0)
    assert_non_null (s);
  else
    assert_err (err, VD_CORRUPT, "note says what the target holds");
  return s;
}

TEST (what_it_says)
{
  struct vd_err err;
  struct vd_target_state *s = read_note (good, strlen (good), &err);

  assert_non_null (s);
  assert_string_equal (s->target, "t");
  assert_string_equal (s->delta, "/d.vmdk");
  assert_null (s->undo);
  assert_true (s->finished && s->moved && s->has_stamp);
  assert_int_equal (s->to.cid, 2);
  assert_true (s->to.has_said && s->to.said == 3);
  assert_int_equal (s->to.longid[11], 11);
  assert_true (s->sync.there && s->sync.to_end);
  assert_int_equal (s->sync.mode, VD_SYNC_COPY);
  assert_int_equal (s->sync.link, 7);
  assert_int_equal (s->sync.reached, 65536);
  assert_int_equal (s->sync.rate, 1000);
  assert_string_equal (s->sync.base, "/b");
  assert_int_equal (s->nr_past, 1);
  assert_false (s->past[0].has_cid);
  assert_int_equal (s->held[0], 4096);
  assert_int_equal (s->sample[0].crc, UINT32_MAX);
  assert_int_equal (s->ctime[1], 6);
  vd_target_state_free (s);

  assert_int_equal (vd_target_state_read ("none", &s, &err), 0);
  assert_null (s);
}

/* One record in place of that which begins alike; NULL: none. */
static void
refused (const char *kind, const char *record)
{
  const char *at = strstr (good, kind);
  const char *rest = strchr (at, '\n') + 1;
  struct vd_err err;
  char body[2048];

  snprintf (body, sizeof body, "%.*s%s%s%s", (int) (at - good), good,
            record ? record : "", record ? "\n" : "", rest);
  if (read_note (body, strlen (body), &err))
    fail_msg ("taken: %s", record ? record : kind);
}

TEST (records_that_cannot_be)
{
  static const struct { const char *kind, *record; } bad[] = {
    { "target", NULL }, { "disk", NULL }, { "run", NULL }, { "to ", NULL },
    { "target", "target 74" }, { "target", "target - 1048576" },
    { "target", "target 7400 1048576" }, { "target", "target 7 1048576" },
    { "target", "target 74 18446744073709551616" },
    { "target", "target 74 -1" }, { "target", "target 74 1048576 1" },
    { "disk", "disk 0" }, { "disk", "disk 1048577" }, { "disk", "disk" },
    { "run", "run done 0123456789abcdef 2f -" },
    { "run", "run finished 0123456789abcde 2f -" },
    { "run", "run finished 0123456789abcdeg 2f -" },
    { "run", "run finished 0123456789abcdef - -" },
    { "from", "from 1 00000001 - - -" },
    { "from", "from 0123456789abcdef 0000001 - - -" },
    { "from", "from 0123456789abcdef -1 - - -" },
    { "from", "from 0123456789abcdef 00000001 x - -" },
    { "from", "from 0123456789abcdef 00000001 - - x" },
    { "from", "from 0123456789abcdef 00000001 - -" },
    { "to ", "to 0000000000000000 00000002 - - -" },
    { "sync", "sync" }, { "sync", "sync copy" },
    { "sync", "sync nothing end 0000000000000007 65536 1000 -" },
    { "sync", "sync copy start 0000000000000007 65536 1000 -" },
    { "sync", "sync copy end 7 65536 1000 -" },
    { "sync", "sync copy end 0000000000000007 1048577 1000 -" },
    { "sync", "sync copy end 0000000000000007 65536 -1 -" },
    { "sync", "sync copy end 0000000000000007 65536 1000" },
    { "sync", "sync copy end 0000000000000007 65536 1000 2" },
    { "past", "past" }, { "temp", "temp -" }, { "stamp", "stamp 1 2 3 4 5" },
    { "stamp", "stamp 1 2 9223372036854775808 4 5 6" },
    { "held", "held" }, { "held", "held -1" },
    { "first", "first 1048576 1 00000000" },
    { "first", "first 1044481 4096 00000000" },
    { "sample", "sample 0 0 00000000" },
    { "sample", "sample 0 4097 00000000" },
    { "sample", "sample 18446744073709551615 4096 00000000" },
    { "moved", "moved 1" }, { "moved", "what 1" },
  };
  size_t i;

  for (i = 0; i < ARRAY_SIZE (bad); ++i)
    refused (bad[i].kind, bad[i].record);
}

TEST (too_many_records)
{
  static const struct { const char *line; size_t max; } many[] = {
    { "past 0000000000000001 - - - -\n", VD_MAX_PAST - 1 },
    { "held 1\n", VD_SURVEY_PLACES - 1 },
    { "first 0 1 00000000\n", VD_MAX_SAMPLES - 1 },
    { "sample 0 1 00000000\n", VD_MAX_SAMPLES - 1 },
  };
  struct vd_target_state *s;
  struct vd_err err;
  size_t i, k;

  for (i = 0; i < ARRAY_SIZE (many); ++i) {
    const size_t n = strlen (many[i].line);
    char *body = malloc (sizeof good + (many[i].max + 1) * n);
    size_t len = strlen (good);

    memcpy (body, good, len);
    for (k = 0; k < many[i].max; ++k, len += n)
      memcpy (body + len, many[i].line, n);
    s = read_note (body, len, &err);
    assert_non_null (s);
    vd_target_state_free (s);
    memcpy (body + len, many[i].line, n);
    assert_null (read_note (body, len + n, &err));
    free (body);
  }
}

static void
check_bounds (const struct vd_target_state *s)
{
  size_t i;

  assert_true (s->target && s->delta && s->to.id != 0);
  assert_true (s->capacity > 0 && s->capacity <= s->size);
  assert_true (s->nr_past <= VD_MAX_PAST && s->nr_held <= VD_SURVEY_PLACES);
  for (i = 0; i < s->nr_samples; ++i)
    assert_true (s->sample[i].length > 0 &&
                 s->sample[i].length <= VD_SAMPLE_MAX &&
                 s->sample[i].offset + s->sample[i].length <= s->size);
}

/* Any bytes changed, left out or doubled, with the right sum at the end. */
TEST (whatever_is_there)
{
  const size_t n = strlen (good);
  struct mk_rng rng;
  unsigned taken = 0, i;

  mk_rng_seed (&rng, 18);
  for (i = 0; i < 5000; ++i) {
    char body[2 * sizeof good];
    size_t len = n, at = mk_rng_below (&rng, n);
    size_t much = mk_rng_below (&rng, 40);
    struct vd_target_state *s;
    struct vd_err err;

    memcpy (body, good, n);
    much = much < n - at ? much : n - at;
    switch (mk_rng_below (&rng, 4)) {
    case 0:
      body[at] = "0123456789abcdef -\n\0"[mk_rng_below (&rng, 20)];
      break;
    case 1:
      body[at] = (char) mk_rng_below (&rng, 256);
      break;
    case 2:                     /* left out */
      memmove (body + at, body + at + much, n - at - much);
      len = n - much;
      break;
    case 3:                     /* doubled */
      memmove (body + at + much, body + at, n - at);
      len = n + much;
    }
    s = read_note (body, len, &err);
    if (s) {
      check_bounds (s);
      taken++;
    }
    vd_target_state_free (s);
  }
  /* Some digits do not matter. */
  assert_true (taken > 100 && taken < 4000);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    tmpdir_test (what_it_says),
    tmpdir_test (records_that_cannot_be),
    tmpdir_test (too_many_records),
    tmpdir_test (whatever_is_there),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
