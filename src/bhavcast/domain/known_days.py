"""The special days of BSE's equity segment that are known without any file, written as such a file.

Two independent calendars agree on every date. Weekend holidays are named, though they change nothing.
Muhurat 2025: the day is known; assumed are the pre-open from 13:30 in the shape of a usual one, trading 13:45-14:45,
ten minutes each of close and post-close, and one round of the periodic call auction. Muhurat 2026: hours unknown.
"""

from typing import Final

KNOWN_DAYS: Final = """\
date,kind,name,windows
2025-01-01,complete_year,Trading holidays 2025
2025-02-01,special_session,Union Budget special session
2025-02-26,holiday,Mahashivratri
2025-03-14,holiday,Holi
2025-03-31,holiday,Id-Ul-Fitr (Ramzan Id)
2025-04-10,holiday,Shri Mahavir Jayanti
2025-04-14,holiday,Dr. Baba Saheb Ambedkar Jayanti
2025-04-18,holiday,Good Friday
2025-05-01,holiday,Maharashtra Day
2025-08-15,holiday,Independence Day
2025-08-27,holiday,Ganesh Chaturthi
2025-10-02,holiday,Mahatma Gandhi Jayanti
2025-10-21,muhurat,Diwali Laxmi Pujan,\
pre_open_entry=13:30-13:38 pre_open_match=13:38-13:42 pre_open_buffer=13:42-13:45 continuous=13:45-14:45,\
closing=14:45-14:55 post_close=14:55-15:05,\
periodic:pre_open_entry=13:45-14:30 periodic:pre_open_match=14:30-14:38 periodic:pre_open_buffer=14:38-14:45,\
periodic:closing=14:45-14:55 periodic:post_close=14:55-15:05
2025-10-22,holiday,Diwali Balipratipada
2025-11-05,holiday,Prakash Gurpurb Sri Guru Nanak Dev
2025-12-25,holiday,Christmas
2026-01-01,complete_year,Trading holidays 2026
2026-01-15,holiday,Maharashtra municipal elections
2026-01-26,holiday,Republic Day
2026-02-01,special_session,Union Budget special session
2026-02-15,holiday,Mahashivratri
2026-03-03,holiday,Holi
2026-03-21,holiday,Id-Ul-Fitr (Ramzan Id)
2026-03-26,holiday,Shri Ram Navami
2026-03-31,holiday,Shri Mahavir Jayanti
2026-04-03,holiday,Good Friday
2026-04-14,holiday,Dr. Baba Saheb Ambedkar Jayanti
2026-05-01,holiday,Maharashtra Day
2026-05-28,holiday,Bakri Id
2026-06-26,holiday,Muharram
2026-08-15,holiday,Independence Day
2026-09-14,holiday,Ganesh Chaturthi
2026-10-02,holiday,Mahatma Gandhi Jayanti
2026-10-20,holiday,Dussehra
2026-11-08,muhurat,Diwali Laxmi Pujan
2026-11-10,holiday,Diwali Balipratipada
2026-11-24,holiday,Prakash Gurpurb Sri Guru Nanak Dev
2026-12-25,holiday,Christmas
"""
