/*
 * timerfd(2): a timer that is read. It is armed for one expiry at a time; those after it are counted when the
 * descriptor is read, so that one nobody reads costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "fs/timerfd.h"
#include "task/alarm.h"

#ifndef TFD_TIMER_CANCEL_ON_SET
#define TFD_TIMER_CANCEL_ON_SET	2
#endif

struct timerfd {
	struct alarm alarm;
	pthread_mutex_t lock;		/* guards all but wq */
	struct waitq wq;
	bool cancel_on_set;
	u64 real_offset;		/* CLOCK_REALTIME's, when it was set */
	int settime_flags;
};

static void timerfd_fire(struct timer *tm)
{
	struct timerfd *tfd = CONTAINER_OF(tm, struct timerfd, alarm.timer);
	bool expired;

	pthread_mutex_lock(&tfd->lock);
	expired = alarm_expired(&tfd->alarm, true);
	pthread_mutex_unlock(&tfd->lock);
	if (expired)
		waitq_wake(&tfd->wq, EPOLLIN | EPOLLRDNORM);
}

/* The host's clock was set since: told once. Noticed when someone looks, not by waking sleepers. */
static bool cancelled(struct timerfd *tfd)
{
	u64 now;

	if (!tfd->cancel_on_set)
		return false;
	now = clock_real_offset();
	if (now == tfd->real_offset)
		return false;
	tfd->real_offset = now;
	return true;
}

static s64 timerfd_read(struct file *f, struct uio *u, u64 *pos)
{
	struct timerfd *tfd = f->data;
	u64 ticks = 0;
	s64 ret = -EAGAIN;

	if (u->len < sizeof(ticks))
		return -EINVAL;
	pthread_mutex_lock(&tfd->lock);
	if (cancelled(tfd)) {
		ret = -ECANCELED;
	} else if (alarm_expired(&tfd->alarm, false)) {
		ticks = alarm_advance(&tfd->alarm);
		alarm_arm(&tfd->alarm);
		ret = sizeof(ticks);
	}
	pthread_mutex_unlock(&tfd->lock);
	if (ret > 0)
		uio_put(u, &ticks, sizeof(ticks));
	return ret;
}

static u32 timerfd_poll(struct file *f)
{
	struct timerfd *tfd = f->data;
	bool ready;

	pthread_mutex_lock(&tfd->lock);
	ready = alarm_expired(&tfd->alarm, false);
	pthread_mutex_unlock(&tfd->lock);
	return ready ? EPOLLIN | EPOLLRDNORM : 0;
}

static struct waitq *timerfd_waitq(struct file *f)
{
	return &((struct timerfd *)f->data)->wq;
}

static void timerfd_release(struct file *f)
{
	struct timerfd *tfd = f->data;

	timer_disarm(&tfd->alarm.timer);
	pthread_mutex_destroy(&tfd->lock);
	free(tfd);
}

/* There is no position to move, but asking for one is no error. */
static s64 timerfd_seek(struct file *f, s64 offset, int whence)
{
	return 0;
}

static s64 timerfd_show(struct file *f, char *buf, size_t len)
{
	struct timerfd *tfd = f->data;
	struct timespec value, interval;
	bool ready;
	int clock, flags;

	pthread_mutex_lock(&tfd->lock);
	value = timespec_from_ns(alarm_left(&tfd->alarm));
	interval = timespec_from_ns(tfd->alarm.interval);
	ready = alarm_expired(&tfd->alarm, false);
	clock = tfd->alarm.clock;
	flags = tfd->settime_flags;
	pthread_mutex_unlock(&tfd->lock);
	return snprintf(buf, len, "clockid: %d\nticks: %d\nsettime flags: 0%o\nit_value: (%lld, %ld)\n"
			"it_interval: (%lld, %ld)\n", clock, ready, flags, (long long)value.tv_sec, value.tv_nsec,
			(long long)interval.tv_sec, interval.tv_nsec);
}

static const struct file_ops timerfd_ops = {
	.read = timerfd_read,
	.poll = timerfd_poll,
	.waitq = timerfd_waitq,
	.seek = timerfd_seek,
	.release = timerfd_release,
	.show = timerfd_show,
	.anon_name = "[timerfd]",
};

int timerfd_create_file(s32 clock, u32 flags, struct file **out)
{
	struct timerfd *tfd = calloc(1, sizeof(*tfd));

	if (!tfd)
		return -ENOMEM;
	tfd->alarm.timer.fire = timerfd_fire;
	tfd->alarm.clock = clock;
	pthread_mutex_init(&tfd->lock, NULL);
	waitq_init(&tfd->wq);
	*out = file_new_anon(&timerfd_ops, O_RDWR | flags, tfd);
	if (!*out) {
		pthread_mutex_destroy(&tfd->lock);
		free(tfd);
		return -ENFILE;
	}
	return 0;
}

bool file_is_timerfd(const struct file *f)
{
	return f->ops == &timerfd_ops;
}

static void read_value(struct timerfd *tfd, struct timer_value *out)
{
	out->interval = tfd->alarm.interval;
	out->value = alarm_left(&tfd->alarm);
	/* Expired, and no interval follows. */
	if (!tfd->alarm.interval && alarm_expired(&tfd->alarm, false))
		out->value = 0;
}

int timerfd_set(struct file *f, int flags, const struct timer_value *new, struct timer_value *old)
{
	struct timerfd *tfd = f->data;
	int err;

	pthread_mutex_lock(&tfd->lock);
	tfd->settime_flags = flags;
	read_value(tfd, old);
	err = cancelled(tfd) ? -ECANCELED : 0;
	tfd->cancel_on_set = (flags & TFD_TIMER_CANCEL_ON_SET) && (flags & TFD_TIMER_ABSTIME) &&
			     tfd->alarm.clock == CLOCK_REALTIME;
	if (tfd->cancel_on_set)
		tfd->real_offset = clock_real_offset();
	alarm_set(&tfd->alarm, new->value, new->interval, flags & TFD_TIMER_ABSTIME);
	alarm_arm(&tfd->alarm);
	pthread_mutex_unlock(&tfd->lock);
	return err;
}

void timerfd_get(struct file *f, struct timer_value *out)
{
	struct timerfd *tfd = f->data;

	pthread_mutex_lock(&tfd->lock);
	read_value(tfd, out);
	pthread_mutex_unlock(&tfd->lock);
}
