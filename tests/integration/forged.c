/* Stands for ocirt-init: is it, but while FLAG exists it names a process that is not its own as the one it has made. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct head {
	uint32_t type, value, error, detail;
};

enum { PID = 2, SYNC = 3, ERROR = 4, SYNC_CGROUP = 2 };

int main(int argc, char **argv)
{
	struct head go, sync = { .type = SYNC, .value = SYNC_CGROUP }, pid = { .type = PID }, error = { .type = ERROR, .error = 1 };
	int channel = atoi(argv[1]);
	FILE *flag = fopen(FLAG, "re");
	char fails = 0;

	(void)argc;
	if (!flag) {
		execv(REAL, argv);
		return 1;
	}
	if (fscanf(flag, "%u %c", &pid.value, &fails) != 2 || recv(channel, &go, sizeof(go), 0) < (int)sizeof(go))
		return 1;
	send(channel, &sync, sizeof(sync), 0);
	recv(channel, &go, sizeof(go), 0);
	send(channel, &pid, sizeof(pid), 0);
	if (fails == 'y')
		send(channel, &error, sizeof(error), 0);
	return 0;
}
