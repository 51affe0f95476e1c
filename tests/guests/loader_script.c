/* #! lines and argument limits through execve, in a directory of our own. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

static char self[128];

static void write_script(const char *name, const char *text, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len && close(fd) == 0);
}

/* Runs `path`; what it printed, or "errno N". */
static const char *run(const char *path, char *const argv[])
{
	static char out[8192];
	int p[2], status, n = 0, got;
	pid_t pid;

	CHECK(pipe(p) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		char *envp[] = { "SHOW=1", NULL };

		dup2(p[1], 1);
		close(p[0]);
		execve(path, argv, envp);
		dprintf(1, "errno %d", errno);
		_exit(0);
	}
	close(p[1]);
	while ((got = read(p[0], out + n, sizeof(out) - 1 - n)) > 0)
		n += got;
	out[n] = 0;
	close(p[0]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	return out;
}

/* With SHOW in the environment: print the arguments, without directories. */
static int show(int argc, char **argv)
{
	printf("%d:", argc);
	for (int i = 0; i < argc; i++) {
		const char *slash = strrchr(argv[i], '/');

		printf(" [%s]", slash ? slash + 1 : argv[i]);
	}
	return 0;
}

static void script(const char *label, const char *format)
{
	char text[8192], *argv[] = { "zero", "one", "", NULL };

	snprintf(text, sizeof(text), format, self);
	write_script("s", text, strlen(text));
	printf("%s: %s\n", label, run("./s", argv));
}

static void chain(int depth)
{
	char text[8192], name[16], *argv[] = { "zero", "end", NULL };

	for (int i = 0; i < depth; i++) {
		if (i)
			snprintf(text, sizeof(text), "#!./c%d -%d\n", i - 1, i);
		else
			snprintf(text, sizeof(text), "#!%s -0\n", self);
		snprintf(name, sizeof(name), "c%d", i);
		write_script(name, text, strlen(text));
	}
	snprintf(name, sizeof(name), "./c%d", depth - 1);
	printf("chain of %d: %s\n", depth, run(name, argv));
}

static void limits(void)
{
	size_t max = 128 << 10;
	char *big = malloc(max + 1), *argv[70] = { "zero" };
	struct rlimit rl = { 4 << 20, 4 << 20 };
	const char *out;
	int most = 0;

	memset(big, 'x', max + 1);
	big[max] = 0;
	argv[1] = big;
	printf("a string too long: %s\n", run(self, argv));
	big[max - 1] = 0;
	out = run("/bin/true", argv);
	printf("the longest string: %s\n", out);

	CHECK(setrlimit(RLIMIT_STACK, &rl) == 0);
	for (int n = 1; n < 60; n++) {
		argv[n] = big;
		argv[n + 1] = NULL;
		if (!strncmp(run("/bin/true", argv), "errno 7", 7))
			break;
		most = n;
	}
	printf("with 4 MiB of stack: %d of them\n", most);
	free(big);
}

int main(int argc, char **argv)
{
	char text[600], dir[] = "scripts.XXXXXX", tmp[] = "/tmp/show.XXXXXX", *none[] = { NULL }, *one[] = { "zero", NULL };

	if (getenv("SHOW"))
		return show(argc, argv);
	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	/* A short name for ourselves: the build directory's may fill a #! line alone. */
	CHECK(mkdtemp(tmp));
	snprintf(self, sizeof(self), "%s/show", tmp);
	CHECK(symlink(argv[0], self) == 0);

	script("plain", "#!%s\nrest");
	script("argument", "#! \t%s  -a b \t\nrest");
	script("no newline", "#!%s");
	script("empty", "#!");
	script("blank", "#!  \n%s");
	script("missing", "#!/nonexistent\n%.0s");
	script("itself", "#!./s\n%.0s");
	script("directory", "#!/\n%.0s");
	script("text", "echo %s\n");
	write_script("s", "", 0);
	printf("nothing: %s\n", run("./s", one));
	chmod("s", 0644);
	if (getuid())
		printf("no permission: %s\n", run("./s", one));

	snprintf(text, sizeof(text), "#!%s ", self);
	memset(text + strlen(text), 'y', 400);
	text[599] = 0;
	write_script("s", text, 500);
	printf("long line: %zu\n", strlen(run("./s", one)) - strlen(self) + strlen(self));

	for (int depth = 2; depth <= 7; depth++)
		chain(depth);
	printf("no argv: %s\n", run(self, none));
	limits();
	CHECK(unlink(self) == 0 && rmdir(tmp) == 0);
	return 0;
}
