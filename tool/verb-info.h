/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* What vmdkdelta info knows of one link: gathered in info-facts.c, printed
 * by info-text.c and info-json.c.
 */

#ifndef VMDKDELTA_INFO_H
#define VMDKDELTA_INFO_H

#include "json.h"
#include "tool.h"

enum parent_state {
  PARENT_NONE,                  /* a base */
  PARENT_FOUND,                 /* and fits */
  PARENT_UNKNOWN,               /* the link does not say who it is */
  PARENT_MISSING,
  PARENT_MISFIT,                /* found, but it has another CID */
  PARENT_BROKEN,                /* any other trouble with it */
};

/* "none", "found", ...: as it stands in the output. */
extern const char *parent_state_name (enum parent_state state);

struct facts {
  const char *path;
  struct vd_member *member;
  const struct vd_opts *opts;

  /* Its extents. */
  bool loaded;
  struct vd_err load_err;       /* why not */

  /* Bytes of the disk of each kind; BASE is what the link does not hold. */
  bool walked;
  struct vd_err walk_err;       /* why not, if loaded */
  uint64_t bytes[VD_WALK_KINDS];
  struct vd_err damage;         /* of the first damaged byte */

  /* Its files, each counted once. */
  size_t nr_files;
  uint64_t files_size;
  uint64_t files_usage;         /* on disk: less where they have holes */
  bool unclean;

  struct vd_beside beside;      /* of the FILE itself */

  enum parent_state parent_state;
  struct vd_err parent_err;     /* with MISSING, MISFIT, BROKEN */
};

/* Gather the facts of a member.  Trouble is itself a fact; so this fails
 * only when there is no memory.  First what is told by its headers, and then
 * what it holds, for which all tables are read.
 */
extern int facts_open (struct facts *f, struct vd_family *family,
                       struct vd_member *member, struct vd_err *err);
extern int facts_walk (struct facts *f, struct vd_err *err);

/* Both, of all of them: the tables of files far away are asked for together. */
extern int facts_walk_all (struct facts *f, size_t n, struct vd_err *err);

/* Only its files, of which f->member is set and loaded; facts_open does it too. */
extern void facts_count_files (struct facts *f);

/* "total  90.1 GiB in 14 files", and what they use on disk if that is less. */
struct total { size_t files; uint64_t size, usage; };
extern void total_add (struct total *t, const struct facts *f);
extern void total_text (FILE *fp, const struct total *t);

/* True when everything the link consists of could be read. */
extern bool facts_complete (const struct facts *f);

/* The same, and no part of the data is damaged. */
extern bool facts_whole (const struct facts *f);

/* One word: "ok", "unclean", "damaged", "incomplete". */
extern const char *facts_state (const struct facts *f);

/* A value of the descriptor, or NULL. */
extern const char *facts_key (const struct facts *f, const char *key);

/* The format's name; also of a link that could not be loaded. */
extern const char *facts_format (const struct facts *f);

/* Say in err whether extent i of the descriptor can be opened: 0 or -1. */
extern int extent_found (const struct facts *f, size_t i, struct vd_err *err);

/* The report of one FILE. */
struct report {
  const char *path;
  struct vd_family *family;
  bool opened;
  struct vd_err err;            /* why not */
  struct facts *facts;          /* newest first; one without --chain */
  size_t n;
};

extern void text_report (FILE *fp, const struct report *r);
extern void text_chain (FILE *fp, const struct report *r);
extern void json_report (struct json *j, const struct report *r, bool chain);

/* What to do with the file now: commands, for people (info-next.c). */
extern void text_next (FILE *fp, const struct report *r);

#endif /* VMDKDELTA_INFO_H */
