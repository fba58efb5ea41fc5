//! The table of synonyms: words that no question tells apart in a place where both make sense. How rows are written is said where they are
//! read.

pub(super) const VERBS: &str = "
    buy/bought purchase, begin/began/begun start commence : launch, fix repair mend, delete : erase remove,
    choose/chose/chosen select pick, display show/showed/shown, need require, get/got/gotten : obtain receive, help assist,
    change : edit modify, happen occur take_place/took_place/taken_place, close shut/shut, build/built construct, cancel call_off/called_off,
    postpone put_off/put_off, continue carry_on/carried_on, finish complete,
    return : send_back/sent_back give_back/gave_back/given_back bring_back/brought_back, allow permit, use utilize, try attempt,
    inform notify, rent hire, see/saw/seen view, talk speak/spoke/spoken, leave/left depart, eliminate get_rid_of/got_rid_of,
    reduce decrease : lower cut/cut, increase : raise, improve enhance, hide/hid/hidden conceal,
    find_out/found_out figure_out/figured_out determine, solve resolve, handle deal_with/dealt_with, request ask_for/asked_for,
    submit hand_in/handed_in, summarize sum_up/summed_up, add : append insert, copy duplicate,
    cause lead_to/led_to result_in/resulted_in, affect influence, reside dwell, examine inspect, collect pick_up/picked_up,
    assemble put_together/put_together, extract unpack, contact : reach get_in_touch_with/got_in_touch_with, stop cease,
    quit/quit give_up/gave_up/given_up, respond reply,
    discard throw_away/threw_away/thrown_away throw_out/threw_out/thrown_out dispose_of/disposed_of, own possess, combine merge,
    divide split/split, accelerate speed_up/sped_up, decelerate slow_down/slowed_down, set_up/set_up !setup : configure,
    turn_on/turned_on switch_on/switched_on : enable activate, turn_off/turned_off switch_off/switched_off : disable deactivate,
    suspend : pause freeze/froze/frozen, charge bill, exchange swap, send/sent : post mail dispatch,
    fill_in/filled_in fill_out/filled_out, look_for/looked_for search_for/searched_for seek/sought, run/ran execute, retrieve fetch,
    iterate_over/iterated_over loop_over/looped_over loop_through/looped_through iterate_through/iterated_through,
    rename change_the_name_of/changed_the_name_of, recommend suggest, die pass_away/passed_away, apologize say_sorry/said_sorry,
    forbid/forbade/forbidden prohibit, lend/lent loan, lose/lost misplace,
    log_in/logged_in sign_in/signed_in log_on/logged_on !login !signin,
    log_out/logged_out sign_out/signed_out log_off/logged_off !logout !signout, sign_up/signed_up register !signup,
    check_in/checked_in !checkin, check_out/checked_out !checkout, back_up/backed_up !backup, reboot restart,
    shut_down/shut_down power_off/powered_off,
    raise_an_error/raised_an_error throw_an_error/threw_an_error/thrown_an_error throw_an_exception/threw_an_exception raise_an_exception/raised_an_exception,
    write_a/wrote_a/written_a compose_a/composed_a, book_a/booked_a reserve_a/reserved_a, book_an/booked_an reserve_an/reserved_an,
    book_my/booked_my reserve_my/reserved_my, consume eat/ate/eaten, remain stay, marry get_married_to/got_married_to,
    explode blow_up/blew_up/blown_up, omit leave_out/left_out, resemble look_like/looked_like, revert undo/undid/undone, cover include,
    calculate compute work_out/worked_out, generate produce, remember recall, ship_to deliver_to, retain keep/kept,
    evaluate assess, instantiate create_an_instance_of/created_an_instance_of, locate find/found
";

pub(super) const NOUNS: &str = "
    photo picture photograph pic, car automobile, bike bicycle, phone_number telephone_number, mobile_phone cell_phone cellphone,
    fridge refrigerator, tv television, child/children kid, film movie, trip journey, cinema movie_theater, pharmacy drugstore,
    exam examination, text_message sms, computer pc, mobile_app mobile_application, web_app web_application, sql_query sql_statement,
    certificate cert, administrator admin, shop store, folder directory dir, doctor physician, lawyer attorney, flat apartment,
    lift elevator, holiday vacation, petrol gasoline, petrol_station gas_station filling_station, pavement sidewalk,
    rubbish garbage trash, postcode zipcode postal_code, warranty guarantee, voucher coupon,
    voucher_code coupon_code promo_code promotion_code promotional_code discount_code, parcel package, medicine medication,
    advantage benefit, disadvantage drawback downside, beginner novice newbie, country nation, grandmother grandma granny,
    grandfather grandpa granddad, mother mom, father dad, regex/regexes regular_expression regexp, repo repository, database db,
    javascript js, environment_variable env_var env_variable, parameter param, configuration config, documentation docs,
    advertisement advert ad, information info, specification spec, dictionary dict, integer int, boolean bool, character char,
    maximum max, minimum min, average avg, url web_address, error_message error_msg, identity_card id_card, dinner supper,
    hoover vacuum_cleaner, torch flashlight, lorry/lorries truck, nappy/nappies diaper, aubergine eggplant, courgette zucchini,
    jumper sweater, laundromat launderette, crossroads intersection, hand_baggage carry_on_baggage, cv resume,
    underground_station metro_station subway_station tube_station, airplane aeroplane plane, railway railroad,
    return_ticket round_trip_ticket, baggage luggage, hand_luggage carry_on_luggage, customer_service customer_support, e_book ebook,
    dishwasher dish_washer, sofa couch, curtain drape, tap faucet, bin trash_can dustbin, subtitle caption,
    colleague coworker co_worker, roommate flatmate, thesis/theses dissertation, cab taxi, seaside seashore, present gift, rabbit bunny,
    hippo hippopotamus, rhino rhinoceros, vet veterinarian, flu influenza, heart_attack myocardial_infarction,
    high_blood_pressure hypertension, painkiller pain_killer, surname last_name family_name, first_name given_name forename,
    pupil schoolchild/schoolchildren, k8s kubernetes, postgres postgresql, golang go_lang, nodejs node_js, csharp c#, cplusplus c++,
    hash_map hashmap hash_table hashtable, gpu graphics_card video_card, cpu processor, usb_stick flash_drive thumb_drive,
    operating_system os, text_file txt_file, browser web_browser
";

pub(super) const OTHERS: &str = "
    big large, bigger larger, biggest largest, quickest fastest, simplest easiest, hard difficult, easy simple, easier simpler,
    rich wealthy, sick ill, temporary temp, authentication auth, currently at_the_moment right_now at_present, kind_of type_of sort_of,
    kinds_of types_of sorts_of, symptoms_of signs_of, so_that in_order_that, harder more_difficult, hardest most_difficult,
    cheap inexpensive, expensive costly, cheapest least_expensive lowest_priced, wrong incorrect, suitable appropriate,
    enough sufficient, near close_to, nearest closest, free free_of_charge at_no_cost for_free,
    at_the_same_time simultaneously concurrently : at_once at_a_time, immediately right_away straight_away, maybe perhaps,
    usually normally typically, often frequently, sometimes occasionally, raw uncooked, outdoors outside, indoors inside,
    abroad overseas, online on_the_internet on_the_web over_the_internet, because_of due_to owing_to, approximately approx,
    arrived_damaged arrived_broken, to in_order_to so_as_to, while whilst, until till, everyone everybody, someone somebody,
    anyone anybody, nobody no_one, anymore any_more any_longer, instead_of in_place_of in_lieu_of : rather_than, before prior_to,
    despite in_spite_of, besides in_addition_to, a_lot_of lots_of plenty_of, in_advance beforehand ahead_of_time, what which, who whom,
    if whether, check_if check_whether test_if test_whether verify_if verify_whether determine_if determine_whether, money_back refund,
    my_money_back a_refund, the_most the_greatest_number_of the_largest_number_of the_highest_number_of, for_example for_instance,
    as_soon_as_possible asap, nowadays these_days, needed required, fewer_than less_than, at_least no_less_than, at_most no_more_than,
    compulsory mandatory obligatory, famous well_known, previous prior, overdue past_due, next_to beside, every_day each_day,
    every_week each_week weekly, every_month each_month monthly, every_year each_year yearly annually, all_over_the_world worldwide,
    short brief, smart clever, afraid scared, risky dangerous hazardous, most_recent latest,
    delivery_free shipping_free, delivery_fee shipping_fee, delivery_fees shipping_fees, delivery_cost shipping_cost,
    delivery_costs shipping_costs, delivery_address shipping_address, free_delivery free_shipping, is_delivery is_shipping, does_delivery does_shipping,
    past_orders previous_orders, on_mondays every_monday each_monday, on_tuesdays every_tuesday each_tuesday,
    on_wednesdays every_wednesday each_wednesday, on_thursdays every_thursday each_thursday, on_fridays every_friday each_friday,
    on_saturdays every_saturday each_saturday, on_sundays every_sunday each_sunday, initially at_first, finally at_last,
    quickly rapidly, almost nearly, entire whole
";

/// What stands for a turn of phrase, and its ways.
pub(super) const TURNS: &[(&str, &str)] = &[
    ("=?can", "can_i may_i could_i"),
    (
        "=?can.allowed",
        "am_i_allowed_to am_i_permitted_to is_it_allowed_to is_it_permitted_to do_i_have_permission_to is_one_allowed_to",
    ),
    (
        "=?can.possible",
        "is_it_possible_to is_it_possible_for_me_to am_i_able_to is_there_a_way_to is_there_any_way_to is_there_a_way_for_me_to
         is_there_a_possibility_to",
    ),
    (
        "=?can.okay",
        "is_it_okay_to is_it_okay_if_i is_it_okay_for_me_to is_it_alright_to is_it_alright_if_i is_it_fine_to is_it_acceptable_to",
    ),
    (
        "=?must",
        "must_i do_i_have_to do_i_need_to have_i_got_to am_i_required_to am_i_obliged_to is_it_necessary_to is_it_required_to
         is_it_mandatory_to is_it_compulsory_to is_it_obligatory_to is_it_necessary_for_me_to is_it_mandatory_for_me_to
         is_it_required_for_me_to do_i_have_got_to",
    ),
    ("=?should", "should_i ought_i_to is_it_advisable_to"),
    ("=a", "a an"),
    ("=uk", "uk united_kingdom"),
    ("=usa", "usa united_states united_states_of_america"),
    ("=uae", "uae united_arab_emirates"),
    ("=nyc", "nyc new_york_city"),
    ("=eu", "eu european_union"),
];
