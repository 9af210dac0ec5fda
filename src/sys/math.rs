//! The functions of `math.h` that Lua calls, so that no session has the loader fetch a library for
//! scripts that it does not run: 0.3 MB of memory, and a twentieth of the time of a short call
//! (2026-11).

#![allow(unsafe_code)]

macro_rules! functions {
    ($($name:ident($($argument:ident),+))*) => {$(
        #[doc = concat!("`", stringify!($name), "` of ISO C, 7.12.")]
        // SAFETY: nobody else in the program has a function of this name, and whoever calls it
        // means the one of C, which has this type.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: f64),+) -> f64 {
            libm::$name($($argument),+)
        }
    )*};
}

functions! {
    acos(x) asin(x) atan2(y, x) cos(x) cosh(x) exp(x) log(x) log10(x) log2(x) pow(x, y)
    sin(x) sinh(x) tan(x) tanh(x)
}

/// `frexp` of ISO C, 7.12.6.4.
///
/// # Safety
/// `exponent` is valid for a write, as C has it.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn frexp(x: f64, exponent: *mut libc::c_int) -> f64 {
    let (fraction, power) = libm::frexp(x);
    // SAFETY: the caller says so.
    unsafe { exponent.write(power) };
    fraction
}

/// `ldexp` of ISO C, 7.12.6.6.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn ldexp(x: f64, power: libc::c_int) -> f64 {
    libm::ldexp(x, power)
}

#[cfg(test)]
mod tests {
    /// Through the names that everybody calls.
    #[test]
    fn they_are_what_their_names_say() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-14;
        assert!(close(2f64.powf(0.5), std::f64::consts::SQRT_2));
        assert!(close(1f64.exp(), std::f64::consts::E));
        assert!(close(0f64.acos(), std::f64::consts::FRAC_PI_2));
        assert!(close(super::atan2(1.0, -1.0), 3.0 * std::f64::consts::FRAC_PI_4));
        assert!(close(super::log10(1000.0), 3.0) && close(super::log2(1024.0), 10.0));
        assert!(close(super::sin(1.0).powi(2) + super::cos(1.0).powi(2), 1.0));
        assert!(close(super::cosh(2.0).powi(2) - super::sinh(2.0).powi(2), 1.0));
        assert!(close(super::tan(super::asin(0.6)), 0.75) && close(super::tanh(0.0), 0.0));
        let mut power = 0;
        // SAFETY: it points at an int of ours.
        let fraction = unsafe { super::frexp(40.0, &raw mut power) };
        assert!(close(fraction, 0.625) && power == 6 && close(super::ldexp(0.625, 6), 40.0));
        assert!(super::log(-1.0).is_nan() && super::pow(0.0, -1.0).is_infinite());
    }
}
