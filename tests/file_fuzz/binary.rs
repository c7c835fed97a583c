//! The real program with damaged files.
