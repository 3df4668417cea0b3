/*
 * Mounts that stay open because a later operation resolves a path below them. Whoever can write the directory that one
 * is mounted on can rename it meanwhile: by its name, a mask would land in the decoy that stands there by then.
 */
#include <linux/openat2.h>
#include "init.h"

/* What of `path` lies below `above`, without a leading slash: "" for the same path; NULL where it is another's. */
static const char *below(const char *path, const char *above)
{
	while (*above && *path == *above) {
		path++;
		above++;
	}
	if (*above || (*path && *path != '/'))
		return NULL;
	while (*path == '/')
		path++;
	return path;
}

/* The innermost kept mount at or above `path`, and the path below it; NULL where the container's root is. */
static const struct kept *find(const struct init *init, const char *path, const char **ret_rest)
{
	const struct kept *found = NULL;

	for (uint32_t i = 0; i < init->kept_count; i++) {
		const char *rest = below(path, init->kept[i].path);

		if (rest && (!found || strlen(rest) < strlen(*ret_rest))) {
			found = &init->kept[i];
			*ret_rest = rest;
		}
	}
	return found;
}

/* What is mounted on `path` now hides what was mounted there and below. */
static void forget_below(struct init *init, const char *path)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < init->kept_count; i++) {
		if (below(init->kept[i].path, path))
			(void)sys(SYS_close, init->kept[i].mount);
		else
			init->kept[count++] = init->kept[i];
	}
	init->kept_count = count;
}

int keep_mount(struct init *init, const char *path, int mount, uint64_t flags)
{
	_cleanup_close_ int owned = mount;

	forget_below(init, path);
	if (!(flags & MOUNT_KEEP))
		return 0;
	if (init->kept_count == KEPT_MAX)
		return fail(init, -EMFILE, DETAIL_TARGET);
	init->kept[init->kept_count].path = path;
	init->kept[init->kept_count].mount = take_fd(&owned);
	init->kept_count++;
	return 0;
}

bool is_kept(const struct init *init, const char *path)
{
	const char *rest = "";

	return find(init, path, &rest) && !*rest;
}

size_t kept_length(const struct init *init, const char *path)
{
	const char *rest;
	const struct kept *kept = find(init, path, &rest);

	return kept ? strlen(kept->path) : 0;
}

int open_path(const struct init *init, const char *path, uint64_t flags, uint64_t resolve)
{
	const char *rest;
	const struct kept *kept = find(init, path, &rest);
	int root;

	if (kept && *rest)
		return open_below(kept->mount, rest, flags, RESOLVE_BENEATH | resolve);
	if (kept && flags == O_PATH)
		return sys(SYS_fcntl, kept->mount, F_DUPFD_CLOEXEC, 3);
	if (kept)
		return open_below(kept->mount, ".", flags, RESOLVE_BENEATH | resolve);
	root = slot_fd(init, SLOT_ROOT);
	return root < 0 ? root : open_below(root, *path ? path : "/", flags, RESOLVE_IN_ROOT | resolve);
}

/*
 * Whether the mount above `path` can be seen at its name. A symlink on the way to a target, or a hook, may have hidden
 * it behind another mount without its name having told; then what is visible there would go without its mask.
 */
int check_seen(struct init *init, const char *path)
{
	const char *rest;
	const struct kept *kept = init->doubtful ? find(init, path, &rest) : NULL;
	_cleanup_close_ int seen = -1;
	struct statx s, k;

	if (!kept)
		return 0;
	seen = open_below(slot_fd(init, SLOT_ROOT), kept->path, O_PATH, RESOLVE_IN_ROOT);
	if (file_status(kept->mount, &k) < 0 || file_status(seen, &s) < 0 || s.stx_mnt_id != k.stx_mnt_id || s.stx_ino != k.stx_ino)
		return fail(init, -ESTALE, DETAIL_HIDDEN);
	return 0;
}

int op_close_mounts(struct init *init, const uint64_t *args)
{
	(void)args;
	forget_below(init, "");
	return 0;
}
