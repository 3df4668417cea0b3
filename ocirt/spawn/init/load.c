/* The plan's way in: the first message, the sealed memfd, the memory that it is decoded in. */
#include <linux/mman.h>
#include <poll.h>
#include "init.h"

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) /* the bytes are what the runtime wrote */

/* A private copy of the plan with zeros after it (mmap's pages are zero). */
static int read_plan(int fd, uint8_t **ret_bytes, uint32_t *ret_size)
{
	struct statx status;
	int r = sys(SYS_fcntl, fd, F_GET_SEALS);
	long bytes;
	uint32_t size, done = 0;

	if (r < 0 || (r & SEALS_NEEDED) != SEALS_NEEDED)
		return -EBADMSG;
	r = file_status(fd, &status);
	if (r < 0)
		return r;
	if (status.stx_size > PLAN_MAX)
		return -EBADMSG;
	size = (uint32_t)status.stx_size;
	bytes = system_call(SYS_mmap, 0, size + PLAN_SLACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes < 0 && bytes > -4096)
		return (int)bytes;
	for (; done < size; done += (uint32_t)r) {
		r = sys(SYS_pread64, fd, bytes + done, size - done, done);
		if (r <= 0)
			return r < 0 ? r : -EBADMSG;
	}
	*ret_bytes = (uint8_t *)bytes;
	*ret_size = size;
	return 0;
}

/*
 * A message on a unix socket wakes its reader on the sender's own CPU, which the kernel takes to be about to sleep; but
 * the runtime has work to do beside ours. An eventfd has no such hint. The channel is polled for its end alone.
 */
static void await_doorbell(const struct init *init, int doorbell)
{
	struct pollfd fds[] = { { .fd = doorbell, .events = POLLIN }, { .fd = init->channel } };

	(void)sys(SYS_ppoll, fds, 2, NULL, NULL, 0);
}

int op_next_plan(struct init *init, const uint64_t *args)
{
	int doorbell = slot_fd(init, args[0]);

	if (doorbell < 0)
		return fail(init, doorbell, DETAIL_PLAN);
	await_doorbell(init, doorbell);
	slot_set(init, args[0], -1);
	init->before = (uint32_t)args[1];
	init->more = true;
	return 0;
}

int load_plan(struct init *init, uint32_t *ret_bad)
{
	uint8_t *bytes;
	uint32_t size;
	int r;

	if (init->doorbell >= 0) {
		await_doorbell(init, init->doorbell);
		(void)sys(SYS_close, init->doorbell);
		init->doorbell = -1;
	}
	r = receive_go(init, SYNC_PLAN);

	*ret_bad = NO_OP;
	if (r < 0)
		return r;
	r = slot_fd(init, SLOT_PLAN);
	if (r >= 0)
		r = read_plan(r, &bytes, &size);
	if (r < 0)
		return fail(init, r, DETAIL_PLAN);
	slot_set(init, SLOT_PLAN, -1);
	return fail(init, plan_decode(bytes, size, &operations, &init->plan, ret_bad), DETAIL_PLAN);
}
