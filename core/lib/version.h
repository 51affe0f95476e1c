/* What uname, /proc and --version say. */
#ifndef TG_LIB_VERSION_H
#define TG_LIB_VERSION_H

#define TRAPGATE_VERSION	"0.1"
#define UTS_RELEASE		"6.1.0-trapgate"
#define UTS_VERSION		"#1 SMP Trapgate " TRAPGATE_VERSION

#endif
