/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What sync says: its plan, its result, and JSON. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "verb-sync.h"

/* How much the machine has written to its newest file.  It is not opened. */
static bool
newest_bytes (const struct sync_disk *d, uint64_t *bytes)
{
  const struct vd_link *top = d->sync.link[0]->link;
  const struct vd_descriptor *desc = top->descriptor;
  CLEANUP_FREE char *dir = vd_directory_of (top->path);
  struct stat st;
  size_t i;

  *bytes = 0;
  if (vd_is_uri (top->path) || !dir)
    return false;
  if (top->embedded || !desc) {
    if (stat (top->path, &st) == -1)
      return false;
    *bytes = vd_min ((uint64_t) st.st_size, (uint64_t) st.st_blocks * 512);
    return true;
  }
  for (i = 0; i < desc->nr_extents; ++i) {
    CLEANUP_FREE char *path = NULL;

    if (!desc->extents[i].name)
      continue;
    if (asprintf (&path, "%s/%s", dir, base_name (desc->extents[i].name)) == -1 ||
        stat (path, &st) == -1)
      return false;
    *bytes += vd_min ((uint64_t) st.st_size, (uint64_t) st.st_blocks * 512);
  }
  return true;
}

static double
time_of (const struct sync_disk *d, uint64_t bytes)
{
  return (double) bytes / (double) d->rate;
}

static bool
is_new (const struct sync_disk *d)
{
  return d->sync.chain && !(d->sync.mode == VD_SYNC_LINKS &&
                            d->survey.bytes == 0 && !d->again);
}

static void
print_links (const struct sync_disk *d)
{
  const struct vd_chain *chain = d->sync.chain;
  size_t i;

  for (i = chain->nr_links; i > 0; --i)
    sync_say (d, "%s  %s (%s)",
              d->sync.mode == VD_SYNC_LINKS ? "new   " : "reads ",
              chain->links[i - 1]->path, vd_link_format (chain->links[i - 1]));
}

static void
print_state (const struct sync_disk *d)
{
  const struct vd_target_state *old = d->known ? &d->held : d->note.old;

  if (d->again && d->start > 0)
    sync_say (d, "state   interrupted; continued at byte %" PRIu64 " of %" PRIu64,
              d->start, d->sync.chain->size);
  else if (old && !old->finished)
    sync_say (d, "state   half written, from %s", old->delta);
  else if (old)
    sync_say (d, "state   it holds %s", old->delta);
  else
    sync_say (d, "state   nothing is known of what the target holds");
  if (d->sync.reason && d->sync.mode == VD_SYNC_COMPARE)
    sync_say (d, "why     %s: everything is compared, and what differs is "
              "written", d->sync.reason);
}

/* What the end would need now, if the machine were stopped. */
static void
print_stop (const struct sync_disk *d)
{
  char b[HUMAN_SIZE_MAX];
  uint64_t bytes;

  if (d->sync.goal == 0)
    return;
  if (!newest_bytes (d, &bytes))
    sync_say (d, "stop    how much %s holds cannot be seen from here",
              d->sync.link[0]->link->path);
  else if (d->rate > 0)
    sync_say (d, "stop    %s holds %s: a stop now would last %.1f s, besides "
              "shutdown and start", d->sync.link[0]->link->path,
              short_size (b, bytes), time_of (d, bytes));
  else
    sync_say (d, "stop    %s holds %s", d->sync.link[0]->link->path,
              short_size (b, bytes));
}

void
sync_print_plan (const struct sync_disk *d)
{
  char b[HUMAN_SIZE_MAX];

  if (d->name)
    sync_say (d, "disk    %s", d->name);
  sync_say (d, "source  %s%s", d->source, d->sync.goal > 0
            ? " (the machine writes to it: it is not read)" : "");
  if (d->sync.newer)
    sync_say (d, "newer   %s", d->sync.newer);
  sync_say (d, "goal    %s", vd_sync_goal (&d->sync));
  sync_say (d, "target  %s%s", d->target_name, d->fresh ? " (new)" : "");
  print_state (d);
  if (is_new (d)) {
    print_links (d);
    sync_say (d, "writes  %s%s", d->sync.only_differences ? "at most " : "",
              human_size (b, d->plan.data_bytes));
    sync_say (d, "zeroes  %s%s", d->sync.only_differences ? "at most " : "",
              human_size (b, d->plan.zero_bytes));
  }
  if (!d->all->dry_run)
    return;
  if (is_new (d) && d->rate > 0)
    sync_say (d, "time    about %.1f s at %s a second, as the last time",
              time_of (d, d->plan.data_bytes), short_size (b, d->rate));
  print_stop (d);
}

void
sync_print_result (const struct sync_disk *d)
{
  char b[HUMAN_SIZE_MAX];

  if (!is_new (d))
    sync_say (d, "there   %s is up to date%s%s; nothing was written",
              d->target_name, d->sync.reason ? ": " : "",
              d->sync.reason ? d->sync.reason : "");
  else if (d->all->dry_run)
    sync_say (d, "dry run: nothing was written");
  else
    sync_say (d, "done    %s written and flushed%s, %.2f s",
              short_size (b, d->written), d->all->verify ? ", verified" : "",
              d->seconds);
}

void
sync_json (struct json *j, const struct sync_disk *d)
{
  static const char *const modes[] = { "nothing", "links", "copy", "compare" };
  uint64_t bytes;
  const bool seen = newest_bytes (d, &bytes);

  json_begin_object (j, NULL);
  json_string_or_null (j, "disk", d->name);
  json_string (j, "source", d->source);
  json_string (j, "goal", vd_sync_goal (&d->sync));
  json_string (j, "target", d->target_name);
  json_string_or_null (j, "state", d->note.path);
  json_u64 (j, "size", vd_sync_size (&d->sync));
  json_string (j, "mode", is_new (d) ? modes[d->sync.mode] : "nothing");
  json_string_or_null (j, "reason", d->sync.reason);
  json_u64 (j, "links", d->sync.chain ? d->sync.chain->nr_links : 0);
  json_u64 (j, "start", d->start);
  json_u64 (j, "data-bytes", d->plan.data_bytes);
  json_u64 (j, "zero-bytes", d->plan.zero_bytes);
  json_u64 (j, "written-bytes", d->written);
  json_bool (j, "up-to-date", !is_new (d) || !d->all->dry_run);
  json_bool (j, "verified", d->all->verify && is_new (d) && !d->all->dry_run);
  json_u64_or_null (j, "rate", d->rate > 0, d->rate);
  json_u64_or_null (j, "newest-bytes", d->sync.goal > 0 && seen, bytes);
  json_end (j);
}
