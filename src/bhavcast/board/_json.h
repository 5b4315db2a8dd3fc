/* Values as JSON, digit by digit. A function that writes returns where it ended; NULL where Python has to write. */

#ifndef BHAVCAST_JSON_H
#define BHAVCAST_JSON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum kind { PRICE, HUNDREDTHS, COUNT, TEXT, TIME, SECOND }; /* as in encode.py */
enum { MOST_TEXT = 64 };

static const int64_t TOO_LONG = 1000000000000000;      /* from here on floats are written with an exponent */
static const int64_t TOO_LATE = 253402300800 - 19800; /* seconds: the year 10000 in India */

static char *put_digits(char *at, uint64_t number, int least)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count < least)
        digits[count++] = '0';
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

static char *put_whole(char *at, int64_t number)
{
    if (number < 0)
        *at++ = '-';
    return put_digits(at, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
}

/* Write an integer in units of 10^-scale as the shortest decimal, with one digit behind the point at least. */
static char *put_decimal(char *at, int64_t number, int scale)
{
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number, unit = 1;
    for (int i = 0; i < scale; i++)
        unit *= 10;
    if (number < 0)
        *at++ = '-';
    at = put_digits(at, size / unit, 1);
    *at++ = '.';
    if (scale == 0) {
        *at++ = '0';
        return at;
    }
    at = put_digits(at, size % unit, scale);
    for (int i = 1; i < scale && at[-1] == '0'; i++)
        at--;
    return at;
}

/* Write seconds since the Unix epoch as 2026-11-23T12:08:51, in India (H. Hinnant, "chrono-compatible low-level date
   algorithms", days_from_civil reversed). */
static char *put_time(char *at, int64_t seconds)
{
    seconds += 19800;
    int64_t days = seconds / 86400 + 719468, era = days / 146097, of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    year += era * 400 + (month <= 2);
    int64_t parts[] = {month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60};
    at = put_digits(at, (uint64_t)year, 4);
    for (int i = 0; i < 5; i++) {
        *at++ = "--T::"[i];
        at = put_digits(at, (uint64_t)parts[i], 2);
    }
    return at;
}

/* Write a text that needs no escape; return NULL for any other. */
static char *put_text(char *at, PyObject *text)
{
    if (!PyUnicode_IS_COMPACT_ASCII(text) || PyUnicode_GET_LENGTH(text) > MOST_TEXT)
        return NULL;
    const char *from = PyUnicode_DATA(text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    *at++ = '"';
    for (Py_ssize_t i = 0; i < length; i++) {
        if (from[i] < ' ' || from[i] == '"' || from[i] == '\\' || from[i] == 127)
            return NULL;
        *at++ = from[i];
    }
    *at++ = '"';
    return at;
}

/* Write a number; it takes 32 characters at most. */
static char *put_number(char *at, int64_t number, int kind, int scale)
{
    switch (kind) {
    case PRICE:
    case HUNDREDTHS:
        return number <= -TOO_LONG || number >= TOO_LONG ? NULL : put_decimal(at, number, kind == PRICE ? scale : 2);
    case COUNT:
        return put_whole(at, number);
    case TIME:
    case SECOND:
        if (number < 0 || number / 1000 >= TOO_LATE)
            return NULL;
        *at++ = '"';
        at = put_time(at, number / 1000);
        if (kind == TIME) {
            *at++ = '.';
            at = put_digits(at, (uint64_t)(number % 1000), 3);
        }
        memcpy(at, "+05:30\"", 7);
        return at + 7;
    default:
        return NULL;
    }
}

#endif
