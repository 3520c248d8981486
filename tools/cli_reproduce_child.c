/* cli_reproduce_child.c - runs one of the tools and waits for it, without a shell.
 *
 * The child has a process group of its own, so that a Ctrl-C at the terminal reaches it once, from
 * us: it then saves and ends, and so do we. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tools/cli_reproduce.h"

extern char **environ;

double rp_children_cpu(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_CHILDREN, &u) != 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* The command, as it may be pasted into a shell. */
static void write_command(int fd, char *const *argv)
{
    cli_html h = { 0 };
    for (int i = 0; argv[i]; i++) {
        bool plain = *argv[i] && !argv[i][strcspn(argv[i], " \t\n'\"\\$`*?[](){}<>|&;#~!")];
        cli_html_raw(&h, i ? " " : "$ ");
        cli_html_raw(&h, plain ? "" : "'");
        for (const char *c = argv[i]; *c; c++) {
            char one[2] = { *c, 0 };
            cli_html_raw(&h, *c == '\'' ? "'\\''" : one);
        }
        cli_html_raw(&h, plain ? "" : "'");
    }
    cli_html_raw(&h, "\n");
    if (!h.failed && write(fd, h.text, h.size) < 0)
        errno = 0; /* the log is a courtesy */
    free(h.text);
}

static int start(const char *path, char *const *argv, int log, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    if (posix_spawn_file_actions_init(&files) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_adddup2(&files, log, 1);
    posix_spawn_file_actions_adddup2(&files, log, 2);
    int why = posix_spawn(pid, path, &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return why;
}

static int wait_for(pid_t pid)
{
    int status = 0, told = 0;
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid)
            break;
        if (got < 0 && errno != EINTR)
            return CLI_IO_ERROR;
        if (cli_stop() && !told) {
            told = 1;
            kill(pid, SIGTERM);
        }
        nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_SIGNALLED + WTERMSIG(status);
}

static void last_line(const char *log, char *line, size_t size)
{
    mcs_error e = { 0 };
    size_t n;
    char *text = cli_read_text(log, &n, &e);
    *line = 0;
    if (!text)
        return;
    while (n && text[n - 1] == '\n')
        text[--n] = 0;
    char *start = strrchr(text, '\n');
    snprintf(line, size, "%s", start ? start + 1 : text);
    free(text);
}

int rp_run_tool(rp_work *w, const char *tool, rp_args *a, const char *log)
{
    rp_args all = { 0 };
    char line[400], *path = cli_join(w->o->tools, tool, "");
    pid_t pid;
    bool ok = path && rp_args_add(&all, path);
    for (int i = 0; i < a->count && ok; i++)
        ok = rp_args_add(&all, a->v[i]);
    int fd = ok ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    int why = fd < 0 ? errno : 0, code = CLI_IO_ERROR;
    if (fd >= 0) {
        write_command(fd, all.v);
        why = start(path, all.v, fd, &pid);
        close(fd);
    }
    if (!ok)
        code = cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    else if (why)
        code = cli_error(w->t, CLI_IO_ERROR, "%s: %s", fd < 0 ? log : path, strerror(why));
    else
        code = wait_for(pid);
    if (cli_stop())
        code = CLI_SIGNALLED + cli_stop();
    else if (code == CLI_SOME_FAILED)
        cli_warn(w->t, "%s left out some inputs: see %s", tool, log);
    else if (code != CLI_DONE && ok && !why) {
        last_line(log, line, sizeof line);
        cli_error(w->t, code, "%s failed (%d): %s; see %s", tool, code, line, log);
    }
    rp_args_free(&all);
    free(path);
    return code == CLI_DONE || code == CLI_SOME_FAILED ? CLI_CONTINUE : code;
}
