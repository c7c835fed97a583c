//! The commands: one file a family, one row and one function a command.
