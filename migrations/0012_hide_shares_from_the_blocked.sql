-- Pages that users sent each other, as each of the two may see them: after a block nothing of the one is in the lists
-- and counts of the other, and all of it is back when the block is.
--
-- What is stored stays as it is, so that blocking costs the same however much was sent, and taking a block back needs
-- no repair. Whatever shows shares to users reads these views. The limits in them keep the planner from joining with
-- all of somebody's blocks, whatever it believes of their number: a list ends where its page does.
create view received_shares as
select r.user_id, r.event_id, r.seen_at, s.sender_id, s.sent_at, s.url, s.title
from share_recipients r join shares s using (event_id)
where (select true from hidden h where h.user_id = r.user_id and h.hidden_id = s.sender_id limit 1) is null;

create view sent_shares as
select s.event_id, s.sender_id, s.sent_at, s.url, s.title, s.sent_to,
    -- Each recipient is looked up among the hidden, and not the other way round: there are no more recipients than
    -- friends, but whoever blocks may block any number. Nearly nobody has to do with a block, and for them nothing is
    -- looked up.
    s.not_seen_count - case
        when s.sent_to is null and s.not_seen_count > 0
            and (select true from hidden h where h.user_id = s.sender_id order by h.hidden_id limit 1)
        then (
            select count(*)::integer from share_recipients r
            where r.event_id = s.event_id and r.seen_at is null
                and (select true from hidden h where h.user_id = s.sender_id and h.hidden_id = r.user_id limit 1)
        )
        else 0
    end as not_seen_count
from shares s
where s.sent_to is null
    or (select true from hidden h where h.user_id = s.sender_id and h.hidden_id = s.sent_to limit 1) is null;
