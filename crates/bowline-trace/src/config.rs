//! The configuration of an endpoint, field by field.

use bowline_core::Duration;
use bowline_native::{Accept, Config, IncompleteLimits, Integrity, RateLimit};

/// How many numbers a configuration takes.
pub(crate) const NUMBERS: usize = 27;

/// The configuration as numbers, but for its classes. A new field does not compile before it is among them.
pub(crate) fn numbers(config: &Config) -> [u64; NUMBERS] {
    let Config {
        application,
        accept,
        integrity,
        connection_ids,
        datagram_max,
        channels,
        classes: _, // Written by the header.
        ack_delay,
        idle_timeout,
        connect_timeout,
        credit,
        credit_max,
        loose_credit,
        reliable_max,
        ordered_max,
        unreliable_max,
        send_max,
        send_reserve,
        tickets_max,
        inbox_max,
        incomplete: IncompleteLimits { messages, bytes, age },
        in_flight_max,
        handshake_rate,
        source_sessions_max,
        initial,
    } = *config;
    let rate = handshake_rate.unwrap_or(RateLimit { burst: 0, per_second: 0 });
    [
        application,
        match accept {
            Accept::Never => 0,
            Accept::Always => 1,
            Accept::Ask => 2,
        },
        match integrity {
            Integrity::None => 0,
            Integrity::Crc32 => 1,
        },
        connection_ids.into(),
        datagram_max.into(),
        channels.into(),
        ack_delay.as_micros(),
        idle_timeout.as_micros(),
        connect_timeout.as_micros(),
        credit.into(),
        credit_max.into(),
        loose_credit.into(),
        reliable_max.into(),
        ordered_max.into(),
        unreliable_max.into(),
        send_max.into(),
        send_reserve.into(),
        tickets_max.into(),
        inbox_max.into(),
        messages.into(),
        bytes.into(),
        age.as_micros(),
        in_flight_max.into(),
        rate.burst.into(),
        rate.per_second.into(),
        source_sessions_max.into(),
        initial.map_or(0, |initial| u64::from(initial) + 1),
    ]
}

/// The configuration that these numbers stand for, if any, without classes.
pub(crate) fn from_numbers(numbers: [u64; NUMBERS]) -> Option<Config> {
    let [
        application,
        accept,
        integrity,
        connection_ids,
        datagram_max,
        channels,
        ack_delay,
        idle_timeout,
        connect_timeout,
        credit,
        credit_max,
        loose_credit,
        reliable_max,
        ordered_max,
        unreliable_max,
        send_max,
        send_reserve,
        tickets_max,
        inbox_max,
        messages,
        bytes,
        age,
        in_flight_max,
        burst,
        per_second,
        source_sessions_max,
        initial,
    ] = numbers;
    let u32 = |number: u64| u32::try_from(number).ok();
    let u16 = |number: u64| u16::try_from(number).ok();
    Some(Config {
        application,
        accept: match accept {
            0 => Accept::Never,
            1 => Accept::Always,
            2 => Accept::Ask,
            _ => return None,
        },
        integrity: match integrity {
            0 => Integrity::None,
            1 => Integrity::Crc32,
            _ => return None,
        },
        connection_ids: match connection_ids {
            0 => false,
            1 => true,
            _ => return None,
        },
        datagram_max: u16(datagram_max)?,
        channels: u16(channels)?,
        classes: &[],
        ack_delay: Duration::from_micros(ack_delay),
        idle_timeout: Duration::from_micros(idle_timeout),
        connect_timeout: Duration::from_micros(connect_timeout),
        credit: u32(credit)?,
        credit_max: u32(credit_max)?,
        loose_credit: u32(loose_credit)?,
        reliable_max: u32(reliable_max)?,
        ordered_max: u32(ordered_max)?,
        unreliable_max: u32(unreliable_max)?,
        send_max: u32(send_max)?,
        send_reserve: u32(send_reserve)?,
        tickets_max: u32(tickets_max)?,
        inbox_max: u32(inbox_max)?,
        incomplete: IncompleteLimits {
            messages: u16(messages)?,
            bytes: u32(bytes)?,
            age: Duration::from_micros(age),
        },
        in_flight_max: u32(in_flight_max)?,
        handshake_rate: match (u32(burst)?, u32(per_second)?) {
            (0, 0) => None,
            (burst, per_second) => Some(RateLimit { burst, per_second }),
        },
        source_sessions_max: u32(source_sessions_max)?,
        initial: initial.checked_sub(1).map(u32).map_or(Some(None), |initial| initial.map(Some))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn configurations_come_back() {
        for config in [
            Config::new(u64::MAX),
            Config::small(7),
            Config { initial: Some(u32::MAX), accept: Accept::Ask, ..Config::small(0) },
            Config { initial: Some(0), integrity: Integrity::None, ..Config::new(1) },
            Config { handshake_rate: None, source_sessions_max: 3, ..Config::new(1) },
        ] {
            let read = from_numbers(numbers(&config)).unwrap();
            assert_eq!(std::format!("{read:?}"), std::format!("{config:?}"));
        }
    }

    proptest! {
        #[test]
        fn any_number_in_any_place_is_taken_back_or_refused(
            place in 0..NUMBERS, number in prop_oneof![0..5u64, any::<u64>()],
        ) {
            let mut all = numbers(&Config::new(1));
            all[place] = number;
            if let Some(config) = from_numbers(all) {
                prop_assert_eq!(numbers(&config), all);
            }
        }
    }
}
