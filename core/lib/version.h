/* The kernel that guests see: uname, /proc/version, /proc/sys/kernel/osrelease. */
#ifndef TG_LIB_VERSION_H
#define TG_LIB_VERSION_H

#define UTS_SYSNAME	"Linux"
#define UTS_RELEASE	"6.1.0-trapgate"
#define UTS_VERSION	"#1 SMP PREEMPT_DYNAMIC Trapgate"
#define UTS_MACHINE	"x86_64"

#endif
