#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ncat_fuzz::bodies::run("mbox", data));
