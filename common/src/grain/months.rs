//! Months of the proleptic Gregorian calendar, counted from 1970-01. Howard Hinnant, "chrono-Compatible Low-Level Date
//! Algorithms".

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// The month that a day, counted from 1970-01-01, is in: `civil_from_days`, without the day of the month.
pub(super) fn of_day(day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let day = day + 719_468;
    let era = day.div_euclid(ERA_DAYS);
    let day_of_era = day.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    (era * 400 + year_of_era - 1970) * 12 + months_since_march + 2
}

/// The first day of a month, counted from 1970-01-01: `days_from_civil`.
pub(super) fn first_day(month: i64) -> i64 {
    let since_march = month - 2;
    let (year, months_since_march) = (since_march.div_euclid(12) + 1970, since_march.rem_euclid(12));
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * months_since_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - 719_468
}
