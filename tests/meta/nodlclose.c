/* Preloaded into nbdkit when a module was built with sanitizers.
 *
 * nbdkit unloads its modules before it exits.  The leak checker runs later
 * still, when no address of a module has a name any more: its reports would say
 * "<unknown module>", and what the global variables of nbdkit's own modules
 * point to would count as lost.  nbdkit calls the modules' .unload functions all
 * the same, so that a leak of ours is still found; only the memory stays mapped.
 *
 * freelocale: with the sanitizer's library in the process, a destructor of a
 * library that nbdkit links (p11-kit) waits there for ever at exit.
 */

#include <locale.h>

void freelocale (locale_t locale);
int dlclose (void *handle);

void
freelocale (locale_t locale)
{
  (void) locale;
}

int
dlclose (void *handle)
{
  (void) handle;
  return 0;
}
