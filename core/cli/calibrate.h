/* A short calibration of one platform. */
#ifndef TG_CLI_CALIBRATE_H
#define TG_CLI_CALIBRATE_H

#include "platform.h"

/*
 * Nanoseconds a switch, or negative if it fails. Sets the platform up and takes it down; a few milliseconds. `best`: the
 * cheapest so far, or 0; one that is hopelessly above it is only looked at.
 */
double platform_calibrate(const struct platform_ops *p, const struct platform_config *config, double best);

#endif
