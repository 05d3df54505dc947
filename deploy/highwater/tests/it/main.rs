//! Tests of the program as a whole: the real binary, as a user runs it.

mod bench;
mod commands;
mod crash;
mod evolution;
mod feed;
mod jobs;
mod kafka;
mod keep;
mod objects;
mod page;
mod process;
mod rounds;
mod tls;
mod tools;
mod traces;
mod tree;
