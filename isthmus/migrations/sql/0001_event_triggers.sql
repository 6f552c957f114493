create event trigger isthmus_refuse_drop on sql_drop execute function refuse_drop()
--;
create event trigger isthmus_refuse_unguarded on ddl_command_end when tag in ('ALTER TABLE', 'ALTER TRIGGER') execute function refuse_unguarded()
--;
create event trigger isthmus_refuse_rewrite on table_rewrite execute function refuse_rewrite()
--;
alter event trigger isthmus_refuse_drop enable always
--;
alter event trigger isthmus_refuse_unguarded enable always
--;
alter event trigger isthmus_refuse_rewrite enable always
