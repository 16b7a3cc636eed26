-- How many recipients of a sent share have read it, beside how many have not: together they are all its recipients.
--
-- They are counted when a page of sent shares is read, from the index by share, and not kept: a kept number would have to
-- follow the deletion of accounts, and be filled in for the shares there are. A page has ten shares unless its reader asks
-- for more, and a share at most as many recipients as a user has friends. What was in the view stays as it was.
create or replace view sent_shares as
select s.event_id, s.sender_id, s.sent_at, s.url, s.title, s.sent_to,
    s.not_seen_count - case
        when s.sent_to is null and s.not_seen_count > 0
            and (select true from hidden h where h.user_id = s.sender_id order by h.hidden_id limit 1)
        then (
            select count(*)::integer from share_recipients r
            where r.event_id = s.event_id and r.seen_at is null
                and (select true from hidden h where h.user_id = s.sender_id and h.hidden_id = r.user_id limit 1)
        )
        else 0
    end as not_seen_count,
    case
        when s.sent_to is null
            and (select true from hidden h where h.user_id = s.sender_id order by h.hidden_id limit 1)
        then (
            select count(*)::integer from share_recipients r
            where r.event_id = s.event_id and r.seen_at is not null
                and (select true from hidden h where h.user_id = s.sender_id and h.hidden_id = r.user_id limit 1) is null
        )
        else (select count(*)::integer from share_recipients r where r.event_id = s.event_id) - s.not_seen_count
    end as seen_count
from shares s
where s.sent_to is null
    or (select true from hidden h where h.user_id = s.sender_id and h.hidden_id = s.sent_to limit 1) is null;
