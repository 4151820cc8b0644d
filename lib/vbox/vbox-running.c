/* nbdkit-vmdkdelta
 * Copyright the nbdkit-vmdkdelta authors.
 * SPDX-License-Identifier: BSD-3-Clause
 */

/* Is VirtualBox running?  See vbox.h. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "file/file.h"
#include "vbox/vbox.h"

/* More of an environment is not looked at. */
#define MAX_ENVIRON 65536u

/* The server has machine files in memory as long as any window or machine is
 * open; a machine's own process may outlive it.
 */
static const char *const programs[] = {
  "VBoxSVC", "VirtualBoxVM", "VBoxHeadless", NULL
};

static const char *
find_program (const char *name)
{
  size_t i;

  for (i = 0; programs[i]; ++i)
    if (strcmp (name, programs[i]) == 0)
      return programs[i];
  return NULL;
}

/* The first string of a file of a process, without its end of line; "" if
 * there is none.
 */
static void
first_string (const char *pid, const char *file, char *buf, size_t size)
{
  CLEANUP_FREE char *path = NULL;
  size_t n = 0;
  FILE *fp = NULL;

  if (asprintf (&path, "/proc/%s/%s", pid, file) == -1)
    path = NULL;
  if (path)
    fp = fopen (path, "re");
  if (fp) {
    n = fread (buf, 1, size - 1, fp);
    fclose (fp);
  }
  buf[n] = '\0';
  buf[strcspn (buf, "\n")] = '\0';
}

/* By the name of the program, or by how it was called.  One that has ended,
 * and is only still listed, has no command line.
 */
static const char *
program_of (const char *pid)
{
  char name[64], command[4096];
  const char *slash;

  first_string (pid, "comm", name, sizeof name);
  first_string (pid, "cmdline", command, sizeof command);
  if (!*command)
    return NULL;
  slash = strrchr (command, '/');
  return find_program (name) ? find_program (name)
    : find_program (slash ? slash + 1 : command);
}

/* ---- Which machines it has ---------------------------------------------- */

enum listed { UNKNOWN, NO, YES };

/* Does a list of machines (VirtualBox.xml) have this UUID? */
static enum listed
listed_in (const char *path, const char *uuid)
{
  struct vd_err ignored;
  struct vd_file *file = vd_file_open (path, &ignored);
  CLEANUP_FREE char *text = NULL;
  enum listed r = UNKNOWN;
  size_t n;

  if (file && file->size < VD_VBOX_MAX_SIZE) {
    n = (size_t) file->size;
    text = malloc (n + 1);
    if (text && vd_file_pread (file, text, n, 0, &ignored) == 0) {
      text[n] = '\0';
      r = strcasestr (text, uuid) ? YES : NO;
    }
  }
  vd_file_close (file);
  return r;
}

/* The value of a variable in the environment of a process, or NULL. */
static const char *
variable (const char *env, size_t n, const char *name)
{
  const size_t len = strlen (name);
  const char *p;

  for (p = env; p < env + n; p += strlen (p) + 1)
    if (strncmp (p, name, len) == 0 && p[len] == '=')
      return p + len + 1;
  return NULL;
}

/* Has this process the machine?  Its list is where its environment leads,
 * which only its owner and root may read.
 */
static enum listed
has_machine (const char *pid, const char *uuid)
{
  static const struct {
    const char *variable, *below;
  } places[] = {
    { "VBOX_USER_HOME", "" },
    { "HOME", "/.VirtualBox" },
    { "XDG_CONFIG_HOME", "/VirtualBox" },
    { "HOME", "/.config/VirtualBox" },
  };
  CLEANUP_FREE char *path = NULL, *env = calloc (1, MAX_ENVIRON + 1);
  enum listed one;
  size_t n = 0, i;
  FILE *fp = NULL;

  if (asprintf (&path, "/proc/%s/environ", pid) == -1)
    path = NULL;
  if (env && path)
    fp = fopen (path, "re");
  if (!fp)
    return UNKNOWN;
  n = fread (env, 1, MAX_ENVIRON, fp);
  fclose (fp);
  for (i = 0; i < sizeof places / sizeof places[0]; ++i) {
    const char *value = variable (env, n, places[i].variable);
    CLEANUP_FREE char *list = NULL;

    if (!value || asprintf (&list, "%s%s/VirtualBox.xml", value,
                            places[i].below) == -1)
      list = NULL;
    one = list ? listed_in (list, uuid) : UNKNOWN;
    if (one != UNKNOWN)         /* the first that is there is the one it uses */
      return one;
  }
  return UNKNOWN;
}

int
vd_vbox_check_stopped (const char *path, struct vd_err *err)
{
  struct vd_vbox *box = vd_vbox_open_registry (path, err);
  char uuid[VD_UUID_TEXT], pid[32] = "";
  const char *name = NULL;
  const struct dirent *d;
  bool is_list;
  DIR *dir;

  if (!box)
    return -1;
  is_list = box->is_list;
  vd_uuid_text (uuid, box->uuid);
  vd_vbox_free (box);
  dir = opendir ("/proc");
  while (dir && !name && (d = readdir (dir)) != NULL)
    if (d->d_name[0] >= '1' && d->d_name[0] <= '9' &&
        strlen (d->d_name) < sizeof pid) {
      memcpy (pid, d->d_name, strlen (d->d_name) + 1);
      name = program_of (pid);
      if (name && !is_list && has_machine (pid, uuid) == NO)
        name = NULL;
    }
  if (dir)
    closedir (dir);
  if (!name)
    return 0;
  return vd_fail (err, VD_DENIED, "VirtualBox is running (%s, process %s): it "
                  "keeps machine files in memory, and would write what it "
                  "remembers over %s.  Shut down its machines and close all of "
                  "its windows", name, pid, path);
}
