-- no-transaction
-- What users of before are found by. In small transactions, because it takes minutes for a million users: each locks its
-- users against being deleted, nothing else, and calls go on meanwhile. Who is written by a trigger already stays as
-- they are. When this ends halfway it begins anew, and is the faster for what is there.
do $$
declare
    done text := '';
    upto text;
begin
    loop
        select max(user_id) into upto
        from (select user_id from users where user_id > done order by user_id limit 1000) batch;
        exit when upto is null;
        insert into search_texts (user_id, first_name, last_name, email, email_public)
        select user_id, first_name, last_name, email, email_public
        from users where user_id > done and user_id <= upto order by user_id for key share
        on conflict (user_id) do nothing;
        commit;
        done := upto;
    end loop;
end
$$;
