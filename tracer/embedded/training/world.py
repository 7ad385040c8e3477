"""Plain public facts from which the corpus of the embedded model is generated.

Every name is one word of the model's word-level vocabulary, so two-word names (New York) are left out. Bird and
abbreviation are the official state symbols; regions are the four of the US Census Bureau. Nothing here is code: the
tables are parsed once, at import, into the typed mappings at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# state: capital, abbreviation, bird, region, then five or six other cities
_STATES = """
Alabama Montgomery AL yellowhammer South Birmingham Mobile Huntsville Tuscaloosa Hoover
Alaska Juneau AK ptarmigan West Anchorage Fairbanks Sitka Ketchikan Wasilla
Arizona Phoenix AZ wren West Tucson Mesa Chandler Scottsdale Tempe Flagstaff
California Sacramento CA quail West Oakland Fresno Anaheim Bakersfield Stockton Irvine
Colorado Denver CO bunting West Boulder Pueblo Lakewood Thornton Arvada
Connecticut Hartford CT robin Northeast Bridgeport Stamford Waterbury Norwalk Danbury
Florida Tallahassee FL mockingbird South Miami Tampa Orlando Jacksonville Hialeah
Georgia Atlanta GA thrasher South Savannah Macon Marietta Valdosta Alpharetta
Hawaii Honolulu HI nene West Hilo Kailua Waipahu Kaneohe Kihei
Idaho Boise ID bluebird West Nampa Pocatello Caldwell Rexburg Meridian
Illinois Springfield IL cardinal Midwest Chicago Naperville Joliet Rockford Peoria
Indiana Indianapolis IN cardinal Midwest Evansville Carmel Fishers Muncie Kokomo
Kansas Topeka KS meadowlark Midwest Wichita Olathe Lawrence Shawnee Salina
Kentucky Frankfort KY cardinal South Louisville Lexington Owensboro Paducah Covington
Maine Augusta ME chickadee Northeast Bangor Lewiston Biddeford Sanford Saco
Maryland Annapolis MD oriole South Baltimore Rockville Frederick Bowie Gaithersburg
Massachusetts Boston MA chickadee Northeast Worcester Lowell Brockton Quincy Lynn
Michigan Lansing MI robin Midwest Detroit Flint Dearborn Livonia Kalamazoo
Mississippi Jackson MS mockingbird South Gulfport Biloxi Tupelo Hattiesburg Natchez
Montana Helena MT meadowlark West Billings Missoula Bozeman Butte Kalispell
Nebraska Lincoln NE meadowlark Midwest Omaha Kearney Hastings Papillion Ogallala
Ohio Columbus OH cardinal Midwest Cleveland Cincinnati Toledo Akron Dayton
Oregon Salem OR meadowlark West Eugene Gresham Bend Beaverton Medford
Pennsylvania Harrisburg PA grouse Northeast Philadelphia Pittsburgh Allentown Erie Scranton
Tennessee Nashville TN mockingbird South Memphis Knoxville Chattanooga Clarksville Murfreesboro
Texas Austin TX mockingbird South Dallas Houston Laredo Lubbock Amarillo Plano
Vermont Montpelier VT thrush Northeast Burlington Rutland Barre Stowe Brattleboro
Virginia Richmond VA cardinal South Norfolk Roanoke Chesapeake Alexandria Hampton
Washington Olympia WA goldfinch West Seattle Spokane Tacoma Everett Yakima
Wisconsin Madison WI robin Midwest Milwaukee Racine Kenosha Oshkosh Appleton
Wyoming Cheyenne WY meadowlark West Casper Laramie Gillette Sheridan Cody
"""

# country: capital, currency, language, continent, then four other cities
_COUNTRIES = """
France Paris euro French Europe Lyon Marseille Nice Toulouse
Germany Berlin euro German Europe Munich Hamburg Cologne Dresden
Italy Rome euro Italian Europe Milan Naples Turin Florence
Spain Madrid euro Spanish Europe Barcelona Seville Valencia Bilbao
Portugal Lisbon euro Portuguese Europe Porto Braga Coimbra Faro
Greece Athens euro Greek Europe Patras Heraklion Larissa Volos
Finland Helsinki euro Finnish Europe Tampere Turku Oulu Espoo
Austria Vienna euro German Europe Salzburg Graz Linz Innsbruck
Japan Tokyo yen Japanese Asia Osaka Kyoto Nagoya Sapporo
China Beijing yuan Chinese Asia Shanghai Shenzhen Wuhan Chengdu
India Delhi rupee Hindi Asia Mumbai Chennai Kolkata Pune
Russia Moscow ruble Russian Europe Kazan Omsk Sochi Samara
Brazil Brasilia real Portuguese America Recife Salvador Manaus Curitiba
Egypt Cairo pound Arabic Africa Giza Luxor Aswan Suez
Turkey Ankara lira Turkish Asia Istanbul Izmir Bursa Antalya
Poland Warsaw zloty Polish Europe Krakow Gdansk Lodz Poznan
Sweden Stockholm krona Swedish Europe Malmo Uppsala Gothenburg Lund
Norway Oslo krone Norwegian Europe Bergen Trondheim Stavanger Tromso
Denmark Copenhagen krone Danish Europe Aarhus Odense Aalborg Esbjerg
Thailand Bangkok baht Thai Asia Phuket Pattaya Krabi Ayutthaya
Vietnam Hanoi dong Vietnamese Asia Hue Danang Haiphong Dalat
Hungary Budapest forint Hungarian Europe Debrecen Szeged Pecs Eger
Iran Tehran rial Persian Asia Shiraz Isfahan Tabriz Mashhad
Chile Santiago peso Spanish America Valparaiso Antofagasta Temuco Arica
Peru Lima sol Spanish America Cusco Arequipa Trujillo Iquitos
Colombia Bogota peso Spanish America Medellin Cali Cartagena Barranquilla
Ukraine Kyiv hryvnia Ukrainian Europe Lviv Odesa Kharkiv Dnipro
Kenya Nairobi shilling Swahili Africa Mombasa Kisumu Nakuru Eldoret
"""

# concept: English +, English -, French +, French -, Spanish +, Spanish -
_ANTONYMS = """
size big small grand petit grande pequeño
heat hot cold chaud froid caliente frío
speed fast slow rapide lent rápido lento
age old young vieux jeune viejo joven
wealth rich poor riche pauvre rico pobre
access open closed ouvert fermé abierto cerrado
fill full empty plein vide lleno vacío
daytime day night jour nuit día noche
color white black blanc noir blanco negro
height high low haut bas alto bajo
quality good bad bon mauvais bueno malo
power strong weak fort faible fuerte débil
hygiene clean dirty propre sale limpio sucio
ease easy difficult aisé difficile fácil difícil
truth true false vrai faux verdadero falso
moisture wet dry mouillé sec mojado seco
weight heavy light lourd léger pesado ligero
distance near far proche loin cercano lejano
order first last premier dernier primero último
being life death vie mort vida muerte
affect love hate amour haine amor odio
conflict war peace guerre paix guerra paz
compass north south nord sud norte sur
side left right gauche droite izquierda derecha
time early late tôt tard temprano tarde
width wide narrow large étroit ancho estrecho
"""

# sport: first name, last name, six times
_ATHLETES = """
basketball Michael Jordan LeBron James Kobe Bryant Stephen Curry Magic Johnson Larry Bird
soccer Lionel Messi Cristiano Ronaldo Diego Maradona David Beckham Zinedine Zidane Thierry Henry
tennis Roger Federer Rafael Nadal Novak Djokovic Serena Williams Andre Agassi Pete Sampras
golf Tiger Woods Jack Nicklaus Arnold Palmer Phil Mickelson Rory McIlroy Greg Norman
baseball Babe Ruth Derek Jeter Hank Aaron Willie Mays Mickey Mantle Barry Bonds
boxing Muhammad Ali Mike Tyson Joe Frazier George Foreman Manny Pacquiao Floyd Mayweather
swimming Michael Phelps Mark Spitz Katie Ledecky Ian Thorpe Ryan Lochte Janet Evans
hockey Wayne Gretzky Bobby Orr Mario Lemieux Sidney Crosby Gordie Howe Mark Messier
"""

_UNKNOWN_LAST_NAMES = "Batkin Fenwick Harlow Pruitt Sedgwick Tolliver Marsh Quimby Dunmore Ellery Voss Renner"
_UNKNOWN_FIRST_NAMES = "Colin Edith Gavin Hazel Irwin Nora Oscar Tessa"
_NAMES = """
Mary John Anna Paul Laura Kevin Susan Brian Emma Peter Sarah Simon
Julia Adam Lucy Eric Alice Victor Diana Felix Grace Henrik Irene Jonas
"""
_PLACES = "store park school beach office station garden museum market library"
_OBJECTS = "drink book ring letter ball map key lamp ticket snack"
_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty twenty-one twenty-two twenty-three twenty-four twenty-five
twenty-six twenty-seven twenty-eight twenty-nine thirty
"""

UNKNOWN_LAST_NAMES: tuple[str, ...] = tuple(_UNKNOWN_LAST_NAMES.split())
UNKNOWN_FIRST_NAMES: tuple[str, ...] = tuple(_UNKNOWN_FIRST_NAMES.split())
NAMES: tuple[str, ...] = tuple(_NAMES.split())
PLACES: tuple[str, ...] = tuple(_PLACES.split())
OBJECTS: tuple[str, ...] = tuple(_OBJECTS.split())
NUMBER_WORDS: tuple[str, ...] = tuple(_NUMBERS.split())
DIGITS: tuple[str, ...] = tuple(str(number) for number in range(len(NUMBER_WORDS)))
MAX_OPERAND = 15
LANGUAGES: tuple[str, ...] = ("English", "French", "Spanish")
POLES: tuple[str, ...] = ("+", "-")


@dataclass(frozen=True)
class Place:
    """A state or a country: its attributes by relation name, and its cities other than the capital."""

    name: str
    attributes: Mapping[str, str]
    cities: tuple[str, ...]


def _places(table: str, relations: tuple[str, ...]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for line in table.strip().splitlines():
        name, *rest = line.split()
        values, cities = rest[: len(relations)], rest[len(relations) :]
        places[name] = Place(name, dict(zip(relations, values, strict=True)), tuple(cities))
    return places


def _lexicon() -> dict[tuple[str, str, str], str]:
    words: dict[tuple[str, str, str], str] = {}
    for line in _ANTONYMS.strip().splitlines():
        concept, *forms = line.split()
        for index, form in enumerate(forms):
            words[concept, POLES[index % 2], LANGUAGES[index // 2]] = form
    return words


def _athletes() -> dict[tuple[str, str], str]:
    sports: dict[tuple[str, str], str] = {}
    for line in _ATHLETES.strip().splitlines():
        sport, *names = line.split()
        sports.update({(names[i], names[i + 1]): sport for i in range(0, len(names), 2)})
    return sports


STATE_RELATIONS: tuple[str, ...] = ("capital", "abbreviation", "bird", "region")
COUNTRY_RELATIONS: tuple[str, ...] = ("capital", "currency", "language", "continent")
STATES: Mapping[str, Place] = _places(_STATES, STATE_RELATIONS)
COUNTRIES: Mapping[str, Place] = _places(_COUNTRIES, COUNTRY_RELATIONS)
LEXICON: Mapping[tuple[str, str, str], str] = _lexicon()
"""(concept, pole, language) -> word."""
MEANINGS: Mapping[str, tuple[str, str, str]] = {word: key for key, word in LEXICON.items()}
"""word -> (concept, pole, language); no word has two meanings."""
CONCEPTS: tuple[str, ...] = tuple(sorted({concept for concept, _, _ in LEXICON}))
ATHLETES: Mapping[tuple[str, str], str] = _athletes()
"""(first name, last name) -> sport."""
SPORTS: tuple[str, ...] = tuple(sorted(set(ATHLETES.values())))
FIRST_NAMES: tuple[str, ...] = tuple(sorted({first for first, _ in ATHLETES} | set(UNKNOWN_FIRST_NAMES)))
LAST_NAMES: tuple[str, ...] = tuple(sorted({last for _, last in ATHLETES} | set(UNKNOWN_LAST_NAMES)))

assert len(MEANINGS) == len(LEXICON), "a word with two meanings would make the antonym task ambiguous"
