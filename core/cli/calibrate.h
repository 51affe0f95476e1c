/* A short calibration of one platform. */
#ifndef TG_CLI_CALIBRATE_H
#define TG_CLI_CALIBRATE_H

#include "platform.h"

/* Nanoseconds a switch, or negative if it fails. Sets the platform up and takes it down; a few milliseconds. */
double platform_calibrate(const struct platform_ops *p, const struct platform_config *config);

#endif
