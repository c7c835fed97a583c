//! Small tools that know nothing of Redis's commands or data: clock, random numbers, number
//! formats, glob patterns.
