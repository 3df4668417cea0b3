/*
 * The container's terminal. Everything in /dev may be the image's work: a symlink to somewhere, a device of another
 * kind. So ptmx is taken out of a devpts only, the other end comes from the master itself (TIOCGPTPEER), never by a
 * name, and /dev/console is not followed (CVE-2025-52565, CVE-2026-41579, CVE-2026-88264).
 */
#include <sys/ioctl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include "init.h"

#define PTMX (5 << 8 | 2)
#define PTMX_INO 2 /* of every devpts */

static int check_ptmx(int fd)
{
	struct statx s;
	int r = same_inode_type(fd, S_IFCHR, PTMX);

	if (r < 0)
		return r;
	r = file_status(fd, &s);
	return r < 0 ? r : is_filesystem(fd, DEVPTS_SUPER_MAGIC) && s.stx_ino == PTMX_INO ? 0 : -EEXIST;
}

/* A new terminal's master. ptmx is looked at before it is opened, for opening some other device has effects. */
static int open_master(struct init *init, const char *path)
{
	_cleanup_close_ int look = open_path(init, path, O_PATH, 0);
	_cleanup_close_ int master = -1;
	int r;

	if (look < 0)
		return fail(init, look, DETAIL_TARGET);
	r = check_ptmx(look);
	if (r < 0)
		return fail(init, r, DETAIL_WRONG_INODE);
	master = open_path(init, path, O_RDWR | O_NOCTTY, 0);
	if (master < 0)
		return fail(init, master, DETAIL_TARGET);
	r = check_ptmx(master);
	return r < 0 ? fail(init, r, DETAIL_WRONG_INODE) : take_fd(&master);
}

static int open_peer(int master)
{
	const int unlocked = 0;
	int r = sys(SYS_ioctl, master, TIOCSPTLCK, &unlocked);

	return r < 0 ? r : sys(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* /dev/console: an empty file of the right name, and nothing that stands there already but points elsewhere. */
static int open_console(struct init *init)
{
	char name[256];
	_cleanup_close_ int parent = open_parent(init, "/dev/console", name);
	_cleanup_close_ int fd = -1;
	struct statx s;
	int r;

	if (parent < 0)
		return fail(init, parent, DETAIL_TARGET);
	r = sys(SYS_mknodat, parent, name, S_IFREG | 0600, 0);
	if (r < 0 && r != -EEXIST)
		return fail(init, r, DETAIL_TARGET);
	fd = open_below(parent, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH);
	r = fd < 0 ? fd : file_status(fd, &s);
	if (r >= 0 && S_ISLNK(s.stx_mode))
		r = -ELOOP;
	return r < 0 ? fail(init, r, DETAIL_TARGET) : take_fd(&fd);
}

static int bind_console(struct init *init, int peer)
{
	_cleanup_close_ int target = open_console(init);
	_cleanup_close_ int tree = -1;

	if (target < 0)
		return target;
	tree = clone_tree(peer, "", 0);
	return tree < 0 ? fail(init, tree, DETAIL_SOURCE) : attach(init, tree, target);
}

static int become_stdio(int peer, uint64_t uid)
{
	/* The group is devpts' choice (gid=): it stays. */
	int r = sys(SYS_fchown, peer, uid, -1);

	for (int fd = 0; r >= 0 && fd <= 2; fd++)
		r = sys(SYS_dup3, peer, fd, 0);
	return r < 0 ? r : 0;
}

/* slot of the socket, uid, rows, columns, bind */
int op_console(struct init *init, const uint64_t *args)
{
	struct winsize size = { .ws_row = (unsigned short)args[2], .ws_col = (unsigned short)args[3] };
	int socket = slot_fd(init, args[0]), r = 0;
	_cleanup_close_ int master = -1;
	_cleanup_close_ int peer = -1;

	if (socket < 0)
		return fail(init, socket, DETAIL_SOURCE);
	master = open_master(init, "/dev/pts/ptmx");
	if (master == -ENOENT || master == -ENOTDIR)
		master = open_master(init, "/dev/ptmx");
	if (master < 0)
		return master;
	peer = open_peer(master);
	if (peer < 0)
		return peer;
	if (size.ws_row || size.ws_col)
		r = sys(SYS_ioctl, master, TIOCSWINSZ, &size);
	if (r >= 0 && args[4])
		r = bind_console(init, peer);
	if (r >= 0)
		r = become_stdio(peer, args[1]);
	if (r >= 0)
		r = send_with_fd(socket, master, "/", 1); /* engines take the byte for a name */
	slot_set(init, args[0], -1);
	return r < 0 ? r : 0;
}

/* Apart from `console`: a session takes it, and that of exec's process is made when the rights for the rest are gone. */
int op_controlling_terminal(struct init *init, const uint64_t *args)
{
	(void)init;
	(void)args;
	return sys(SYS_ioctl, 0, TIOCSCTTY, 0);
}
